/**
 * Owns uploads as a process of their own, beside one that measures something else: its arguments are the port, the number
 * of clients, the number of 512 KB slices and a seed that makes them others than those of another run; it prints the slices a second.
 */

import { ImageSource } from './images.ts';
import { sendImages } from './sender.ts';

const [port = 0, clients = 1, count = 1, seed = 7] = process.argv.slice(2).map(Number);
const source = new ImageSource({ rows: 512, columns: 512, instancesPerSeries: 200, seed });
const sent = await sendImages(port, source, clients, count);
if (sent.failures > 0) throw new Error(`${sent.failures} uploads were refused`);
process.stdout.write(`${sent.count / sent.seconds}\n`);
