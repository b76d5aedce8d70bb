/**
 * Owns the pictures of stored frames: a worker makes each from the bytes that storage has, and the latest are kept, since viewers
 * ask for the same ones again. Memory is bounded: what is kept, and what is being made.
 */

import type { ImageFormat } from '../imaging/encode.ts';
import type { Rendering } from '../imaging/render.ts';
import type { ShowAnswer, ShowQuestion, ShowTask } from '../imaging/show.ts';
import { Kept } from '../kept.ts';
import { createPool, type Pool } from '../pool.ts';
import type { Headers, StoredFile } from './header.ts';

/** A picture to make. */
export interface PictureRequest {
  readonly rendering: Rendering;
  readonly format: ImageFormat;
  /** 1 to 100. */
  readonly quality: number;
}

/** Frames are counted from 0. Everything throws what imaging/show throws, Timeout, Busy, InexistentFile. */
export interface Pictures {
  picture(file: StoredFile, frame: number, request: PictureRequest): Promise<Uint8Array<ArrayBuffer>>;
  /** The numbers of a frame (see imaging/arrays). */
  array(file: StoredFile, frame: number, rescaled: boolean): Promise<Required<ShowAnswer>>;
  /** The stored values as text for MATLAB. */
  matlab(file: StoredFile, frame: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Finishes what was begun. */
  close(): Promise<void>;
}

export interface PicturesOptions {
  /** Bytes of pictures that are kept. */
  readonly cached?: number;
  /** Milliseconds that one picture may take. */
  readonly deadline?: number;
}

/** Starts the workers that make pictures. */
export function createPictures(headers: Headers, options: PicturesOptions = {}): Pictures {
  const { cached = 128 * 2 ** 20, deadline = 30_000 } = options;
  const pool: Pool<ShowTask, ShowAnswer> = createPool({ file: 'render', deadline });
  const kept = new Kept<Uint8Array<ArrayBuffer>>(cached);

  const ask = (file: StoredFile, frame: number, question: ShowQuestion): Promise<ShowAnswer> =>
    headers.withFrame(file, frame, ({ bytes, truncated, md5, pixels }) =>
      pool.run({ bytes, truncated, frame, question, ...(md5 !== undefined && { md5 }), ...(pixels && { pixels }) }, [
        bytes.buffer,
        ...(pixels ? [pixels.buffer] : []),
      ]),
    );

  return {
    async picture(file, frame, request) {
      const key = `${file.attachment.uuid} ${frame} ${JSON.stringify(request)}`;
      const known = kept.get(key);
      if (known !== undefined) return known;
      const { bytes } = await ask(file, frame, { kind: 'picture', ...request });
      kept.add(key, bytes);
      return bytes;
    },
    async array(file, frame, rescaled) {
      const { bytes, array } = await ask(file, frame, { kind: 'array', rescaled });
      if (array === undefined) throw new TypeError('the worker answered another question');
      return { bytes, array };
    },
    matlab: async (file, frame) => (await ask(file, frame, { kind: 'matlab' })).bytes,
    close: () => pool.close(),
  };
}
