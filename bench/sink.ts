/** Owns the limit that ingest is held against: a bare node:http server that writes each body to a file and syncs it. */

import { close, constants, fdatasync, open, write } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [port, folder] = [Number(process.argv[2]), process.argv[3] ?? '.'];
let count = 0;

createServer((request, response) => {
  if (request.method !== 'POST') {
    request.resume();
    response.end('{}');
    return;
  }
  const body = Buffer.allocUnsafeSlow(Number(request.headers['content-length']));
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.copy(body, length);
  });
  request.on('end', () => {
    count += 1;
    const failed = (error: Error): void => {
      response.statusCode = 500;
      response.end(error.message);
    };
    open(join(folder, `body-${count}`), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, (error, fd) => {
      if (error) return failed(error);
      write(fd, body, 0, length, 0, (unwritten) => {
        if (unwritten) return failed(unwritten);
        fdatasync(fd, (unsynced) => {
          if (unsynced) return failed(unsynced);
          close(fd, () => response.end('{"Status":"Success"}'));
        });
      });
    });
  });
}).listen(port, '127.0.0.1');
