/**
 * Owns uploads as a process of their own, beside one that measures something else: its arguments are the port, the number
 * of clients and the number of 512 KB slices; it prints the slices a second.
 */

import { ImageSource } from './images.ts';
import { sendImages } from './sender.ts';

const [port = 0, clients = 1, count = 1] = process.argv.slice(2).map(Number);
const source = new ImageSource({ rows: 512, columns: 512, instancesPerSeries: 200, seed: 7 });
const sent = await sendImages(port, source, clients, count);
if (sent.failures > 0) throw new Error(`${sent.failures} uploads were refused`);
process.stdout.write(`${sent.count / sent.seconds}\n`);
