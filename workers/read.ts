/** The worker of browsing: turns the header of a stored file into the JSON text that the REST API answers. */

import { answerHeader } from '../src/dicom/header.ts';
import { answering } from '../src/answer.ts';

export default answering(answerHeader);
