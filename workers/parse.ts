/** The worker of reception: see dicom/parsing. */

import { answering } from '../src/answer.ts';
import { parseEach } from '../src/dicom/parsing.ts';

export default answering(parseEach);
