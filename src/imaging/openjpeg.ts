/**
 * Owns the second decoder of JPEG 2000: @cornerstonejs/codec-openjpeg, for colour of more than 8 bits, which dcmjs-codecs 0.0.8 decodes
 * wrong. Many times slower than that, so it does nothing else. One instance a thread, made at the first use.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { IsenError } from '../errors.ts';

declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
};

interface Decoder {
  /** Makes room for `length` bytes of a codestream. */
  getEncodedBuffer(length: number): Uint8Array;
  decode(): void;
  getDecodedBuffer(): Uint8Array;
  delete(): void;
}

/** What emscripten's start function is given, and fills. */
interface Openjpeg {
  readonly print: () => void;
  readonly printErr: () => void;
  readonly instantiateWasm: (imports: object, done: (instance: object) => void) => object;
  readonly J2KDecoder?: new () => Decoder;
}

const require = createRequire(import.meta.url);
let compiled: object | undefined;
let openjpeg: Openjpeg | undefined;

/**
 * Samples, colour by pixel, as little endian words of 16 bits.
 * @throws {IsenError} BadFileFormat for a codestream that the codec refuses.
 */
export function decodeWithOpenjpeg(codestream: Uint8Array): Uint8Array {
  try {
    openjpeg ??= start();
    if (openjpeg.J2KDecoder === undefined) throw new Error('OpenJPEG did not start');
    const decoder = new openjpeg.J2KDecoder();
    decoder.getEncodedBuffer(codestream.length).set(codestream);
    decoder.decode();
    const decoded = Uint8Array.from(decoder.getDecodedBuffer());
    decoder.delete();
    return decoded;
  } catch (thrown) {
    // What a fault leaves behind stays in its memory: the next picture gets a new instance.
    openjpeg = undefined;
    throw new IsenError('BadFileFormat', 'the codec refused the picture', { cause: thrown });
  }
}

/** Starts it at once: given an instance synchronously, its start function, which answers a promise, has done all before. */
function start(): Openjpeg {
  const make = require('@cornerstonejs/codec-openjpeg/decodewasmjs') as (module: Openjpeg) => Promise<unknown>;
  compiled ??= new WebAssembly.Module(readFileSync(require.resolve('@cornerstonejs/codec-openjpeg/decodewasm')));
  const binary = compiled;
  const module: Openjpeg = {
    print() {},
    printErr() {},
    instantiateWasm(imports, done) {
      const instance = new WebAssembly.Instance(binary, imports);
      done(instance);
      return instance.exports;
    },
  };
  make(module).catch(() => {});
  return module;
}
