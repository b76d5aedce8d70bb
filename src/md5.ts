/**
 * Owns MD5 (RFC 1321) of four byte sequences at once. Each step of MD5 waits for the one before, so that a core computes four digests side
 * by side, in the lanes of vectors, in the time of two; what a runtime offers computes them one after the other. The code is WebAssembly,
 * made here: no library does it.
 */

import { createHash } from 'node:crypto';

/** Sequences side by side. */
const LANES = 4;

/** Rotations of the four rounds (RFC 1321 §3.4). */
const ROTATIONS = [
  [7, 12, 17, 22],
  [5, 9, 14, 20],
  [4, 11, 16, 23],
  [6, 10, 15, 21],
] as const;

/** The word of a block that a step of each round takes. */
const WORDS = [
  (step: number) => step,
  (step: number) => 5 * step + 1,
  (step: number) => 3 * step + 5,
  (step: number) => 7 * step,
] as const;

const INITIAL = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];

const BLOCK = 64;
/** Bytes that are copied into the memory of the code at a time. */
const PIECE = 64 << 10;

/** Places in that memory: the state of all lanes, that of one which goes on alone, the constants, and pieces with room for padding. */
const ALL = 0;
const ALONE = 64;
const CONSTANTS = 128;
const PIECES = Array.from({ length: LANES }, (_, lane) => 2048 + lane * (PIECE + 2 * BLOCK));

/** Opcodes of WebAssembly. */
const GET = 0x20;
const SET = 0x21;
const TEE = 0x22;
const CONST = 0x41;
const LESS_UNSIGNED = 0x49;
const ADD = 0x6a;
const LOOP = [0x03, 0x40];
const AGAIN_IF = [0x0d, 0];
const END = 0x0b;
const I32 = 0x7f;
const V128 = 0x7b;
/** Those of vectors, of four words each. */
const LOAD = [0xfd, 0x00];
const LOAD_FIRST = [0xfd, 0x5c];
const LOAD_LANE = [0xfd, 0x56];
const STORE = [0xfd, 0x0b];
const NOT = [0xfd, 0x4d];
const OR = [0xfd, 0x50];
const XOR = [0xfd, 0x51];
const SELECT = [0xfd, 0x52];
const SHIFT_LEFT = [0xfd, 0xab, 0x01];
const SHIFT_RIGHT = [0xfd, 0xad, 0x01];
const ADD_WORDS = [0xfd, 0xae, 0x01];
/** Addresses are multiples of four, and of sixteen. */
const WORD_ALIGNED = 2;
const VECTOR_ALIGNED = 4;
/** What a module begins with: its magic number and its version. */
const HEAD = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** LEB128 of an i32. */
function signed(value: number): number[] {
  const low = value & 0x7f;
  const rest = value >> 7;
  const isLast = rest === (low & 0x40 ? -1 : 0);
  return isLast ? [low] : [low | 0x80, ...signed(rest)];
}

const unsigned = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];

const vectorAt = (pointer: number, offset: number): number[] => [
  GET,
  pointer,
  ...LOAD,
  VECTOR_ALIGNED,
  ...unsigned(offset),
];

/** The auxiliary function of each round. */
const AUXILIARY = [
  (b: number, c: number, d: number) => [GET, c, GET, d, GET, b, ...SELECT],
  (b: number, c: number, d: number) => [GET, b, GET, c, GET, d, ...SELECT],
  (b: number, c: number, d: number) => [GET, c, GET, d, ...XOR, GET, b, ...XOR],
  (b: number, c: number, d: number) => [GET, d, ...NOT, GET, b, ...OR, GET, c, ...XOR],
] as const;

/** The word of the blocks of all lanes at `offset`. */
function gather(data: readonly number[], offset: number): number[] {
  return [
    ...data.toReversed().flatMap((pointer) => [GET, pointer]),
    ...LOAD_FIRST,
    WORD_ALIGNED,
    ...unsigned(offset),
    ...data.slice(1).flatMap((_, index) => [...LOAD_LANE, WORD_ALIGNED, ...unsigned(offset), index + 1]),
  ];
}

/** The function `(state, data of each lane, end of the first data)` over the blocks of all, of which there is at least one; its locals follow. */
function instructions(): { readonly code: readonly number[]; readonly locals: number } {
  const [state, data, end] = [0, [1, 2, 3, 4], 5] as const;
  const registers = [6, 7, 8, 9] as const;
  const words = Array.from({ length: 16 }, (_, index) => 10 + index);
  const sum = 26;
  const code: number[] = registers.flatMap((local, at) => [...vectorAt(state, 16 * at), SET, local]);
  code.push(...LOOP);
  for (const [at, local] of words.entries()) code.push(...gather(data, 4 * at), SET, local);
  let [a, b, c, d]: readonly number[] & { readonly length: 4 } = registers;
  for (const [round, auxiliary] of AUXILIARY.entries()) {
    for (let step = 0; step < 16; step += 1) {
      const word = words[(WORDS[round]?.(step) ?? 0) % 16] ?? 0;
      const rotation = ROTATIONS[round]?.[step % 4] ?? 0;
      code.push(GET, a, GET, word, ...ADD_WORDS);
      code.push(CONST, 0, ...LOAD, VECTOR_ALIGNED, ...unsigned(CONSTANTS + 16 * (16 * round + step)), ...ADD_WORDS);
      code.push(...auxiliary(b, c, d), ...ADD_WORDS, TEE, sum, CONST, ...signed(rotation), ...SHIFT_LEFT);
      code.push(GET, sum, CONST, ...signed(32 - rotation), ...SHIFT_RIGHT, ...OR, GET, b, ...ADD_WORDS, SET, a);
      [a, b, c, d] = [d, a, b, c];
    }
  }
  for (const [at, local] of registers.entries()) {
    code.push(GET, state, GET, local, ...vectorAt(state, 16 * at), ...ADD_WORDS, TEE, local);
    code.push(...STORE, VECTOR_ALIGNED, ...unsigned(16 * at));
  }
  for (const each of data) code.push(GET, each, CONST, ...signed(BLOCK), ADD, SET, each);
  code.push(GET, data[0], GET, end, LESS_UNSIGNED, ...AGAIN_IF, END, END);
  return { code, locals: sum + 1 - 6 };
}

/** What the runtime knows, and the compiler's library does not without a browser's. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
};

interface Code {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly blocks: (state: number, a: number, b: number, c: number, d: number, end: number) => void;
}

function assemble(): Code {
  const section = (id: number, body: readonly number[]): number[] => [id, ...unsigned(body.length), ...body];
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)];
  const { code: all, locals } = instructions();
  const body = [1, ...unsigned(locals), V128, ...all];
  const parameters = [I32, ...PIECES.map(() => I32), I32];
  const module = Uint8Array.from([
    ...HEAD,
    // One type: a function of six i32. One function of it. Five pages of memory. What is exported. The code.
    ...section(1, [1, 0x60, parameters.length, ...parameters, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 5]),
    ...section(7, [2, ...name('memory'), 2, 0, ...name('blocks'), 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ]);
  const made = new WebAssembly.Instance(new WebAssembly.Module(module)).exports as Code;
  const words = new Int32Array(made.memory.buffer);
  for (let step = 0; step < 64; step += 1)
    words.fill(
      Math.floor(Math.abs(Math.sin(step + 1)) * 2 ** 32),
      CONSTANTS / 4 + 4 * step,
      CONSTANTS / 4 + 4 * step + 4,
    );
  return made;
}

let code: Code | undefined;

/** The MD5 of each of at most four, in lower-case hex. */
function md5Beside(all: readonly Uint8Array[]): readonly string[] {
  code ??= assemble();
  const { memory, blocks } = code;
  const bytes = Buffer.from(memory.buffer);
  const words = new Uint32Array(memory.buffer);
  for (const [at, word] of INITIAL.entries()) words.fill(word, LANES * at, LANES * (at + 1));
  const [one = 0, two = 0, three = 0, four = 0] = PIECES;
  const common = Math.min(...all.map(({ length }) => length));
  const together = common - (common % BLOCK);
  for (let at = 0; at < together; at += PIECE) {
    const end = Math.min(together, at + PIECE);
    for (const [lane, each] of all.entries()) bytes.set(each.subarray(at, end), PIECES[lane]);
    blocks(ALL, one, two, three, four, one + end - at);
  }
  /** The rest of one of them, and its padding; what the other lanes do meanwhile is nobody's. */
  const finish = (each: Uint8Array, lane: number): string => {
    for (let at = 0; at < 4; at += 1) words[ALONE / 4 + LANES * at] = words[LANES * at + lane] ?? 0;
    for (let at = together; ; at += PIECE) {
      const rest = each.subarray(at, at + PIECE);
      bytes.set(rest, one);
      let size = rest.length;
      if (size < PIECE) {
        size = Math.ceil((size + 9) / BLOCK) * BLOCK;
        bytes.fill(0, one + rest.length, one + size);
        bytes[one + rest.length] = 0x80;
        bytes.writeBigUInt64LE(BigInt(each.length) * 8n, one + size - 8);
      }
      blocks(ALONE, one, one, one, one, one + size);
      if (rest.length < PIECE)
        return [0, 1, 2, 3].map((word) => bytes.toString('hex', ALONE + 16 * word, ALONE + 16 * word + 4)).join('');
    }
  };
  return all.map(finish);
}

/** The MD5 of each, in lower-case hex: of four at a time, a last one by itself. None may change meanwhile. */
export function md5Each(all: readonly Uint8Array[]): readonly string[] {
  const digests = all.map(() => '');
  // The nearer their sizes, the longer they go side by side.
  const bySize = [...all.entries()].sort(([, a], [, b]) => a.length - b.length);
  for (let at = 0; at < bySize.length; at += LANES) {
    const some = bySize.slice(at, at + LANES);
    const bytes = some.map(([, each]) => each);
    const [alone] = bytes;
    const found =
      bytes.length === 1 && alone !== undefined ? [createHash('md5').update(alone).digest('hex')] : md5Beside(bytes);
    for (const [index, [place]] of some.entries()) digests[place] = found[index] ?? '';
  }
  return digests;
}
