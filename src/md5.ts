/**
 * Owns MD5 (RFC 1321) of two byte sequences at once. Each step of MD5 waits for the one before, so that a core computes two digests side by
 * side in little more than the time of one; what a runtime offers computes them one after the other. The code is WebAssembly, made here.
 */

import { createHash } from 'node:crypto';

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

/** Places in that memory: two states, one that nobody reads, and pieces with room for padding. */
const STATES = [0, 16] as const;
const UNREAD = 32;
const PIECES = [BLOCK, BLOCK + PIECE + 2 * BLOCK] as const;

/** Opcodes of WebAssembly. */
const GET = 0x20;
const SET = 0x21;
const TEE = 0x22;
const LOAD = 0x28;
const STORE = 0x36;
const CONST = 0x41;
const LESS_UNSIGNED = 0x49;
const ADD = 0x6a;
const AND = 0x71;
const OR = 0x72;
const XOR = 0x73;
const ROTATE_LEFT = 0x77;
const LOOP = [0x03, 0x40];
const AGAIN_IF = [0x0d, 0];
const END = 0x0b;
const I32 = 0x7f;
/** What a module begins with: its magic number and its version. */
const HEAD = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
/** Addresses are multiples of four. */
const ALIGNED = 2;

/** LEB128 of an i32. */
function signed(value: number): number[] {
  const low = value & 0x7f;
  const rest = value >> 7;
  const isLast = rest === (low & 0x40 ? -1 : 0);
  return isLast ? [low] : [low | 0x80, ...signed(rest)];
}

const unsigned = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];

const load = (pointer: number, offset: number): number[] => [GET, pointer, LOAD, ALIGNED, ...unsigned(offset)];
const not = (local: number): number[] => [GET, local, CONST, ...signed(-1), XOR];

/** Adds the auxiliary function of a round to what is on the stack; the one of the second round in two parts, as they come sooner so. */
const AUXILIARY = [
  (b: number, c: number, d: number) => [GET, c, GET, d, XOR, GET, b, AND, GET, d, XOR, ADD],
  (b: number, c: number, d: number) => [...not(d), GET, c, AND, ADD, GET, d, GET, b, AND, ADD],
  (b: number, c: number, d: number) => [GET, b, GET, c, XOR, GET, d, XOR, ADD],
  (b: number, c: number, d: number) => [...not(d), GET, b, OR, GET, c, XOR, ADD],
] as const;

type Registers = readonly [number, number, number, number];

/** The function `(state, state, data, data, end of the first data)` over the blocks of both, of which there is at least one. */
function instructions(): number[] {
  const [states, data, end] = [[0, 1], [2, 3], 4] as const;
  const all: readonly Registers[] = [
    [5, 6, 7, 8],
    [9, 10, 11, 12],
  ];
  const code: number[] = [];
  for (const [of, locals] of all.entries())
    for (const [at, local] of locals.entries()) code.push(...load(states[of] ?? 0, 4 * at), SET, local);
  code.push(...LOOP);
  let turned = all;
  for (const [round, auxiliary] of AUXILIARY.entries()) {
    for (let step = 0; step < 16; step += 1) {
      const constant = Math.floor(Math.abs(Math.sin(16 * round + step + 1)) * 2 ** 32) | 0;
      const word = (WORDS[round]?.(step) ?? 0) % 16;
      for (const [of, [a, b, c, d]] of turned.entries()) {
        code.push(
          GET,
          a,
          ...load(data[of] ?? 0, 4 * word),
          ADD,
          CONST,
          ...signed(constant),
          ADD,
          ...auxiliary(b, c, d),
        );
        code.push(CONST, ...signed(ROTATIONS[round]?.[step % 4] ?? 0), ROTATE_LEFT, GET, b, ADD, SET, a);
      }
      turned = turned.map(([a, b, c, d]) => [d, a, b, c] as const);
    }
  }
  for (const [of, locals] of all.entries()) {
    const state = states[of] ?? 0;
    for (const [at, local] of locals.entries())
      code.push(GET, state, GET, local, ...load(state, 4 * at), ADD, TEE, local, STORE, ALIGNED, 4 * at);
  }
  for (const each of data) code.push(GET, each, CONST, ...signed(BLOCK), ADD, SET, each);
  code.push(GET, data[0], GET, end, LESS_UNSIGNED, ...AGAIN_IF, END, END);
  return code;
}

/** What the runtime knows, and the compiler's library does not without a browser's. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
};

interface Code {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly blocks: (stateA: number, stateB: number, dataA: number, dataB: number, end: number) => void;
}

function assemble(): Code {
  const section = (id: number, body: readonly number[]): number[] => [id, ...unsigned(body.length), ...body];
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)];
  const body = [1, 8, I32, ...instructions()];
  const module = Uint8Array.from([
    ...HEAD,
    // One type: a function of five i32. One function of it. Three pages of memory. What is exported. The code.
    ...section(1, [1, 0x60, 5, I32, I32, I32, I32, I32, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 3]),
    ...section(7, [2, ...name('memory'), 2, 0, ...name('blocks'), 0, 0]),
    ...section(10, [1, ...unsigned(body.length), ...body]),
  ]);
  return new WebAssembly.Instance(new WebAssembly.Module(module)).exports as Code;
}

let code: Code | undefined;

/** The MD5 of each, in lower-case hex. Neither may change meanwhile. */
export function md5Pair(a: Uint8Array, b: Uint8Array): readonly [string, string] {
  code ??= assemble();
  const { memory, blocks } = code;
  const bytes = Buffer.from(memory.buffer);
  for (const state of STATES) for (const [at, word] of INITIAL.entries()) bytes.writeUInt32LE(word, state + 4 * at);
  const common = Math.min(a.length, b.length);
  const both = common - (common % BLOCK);
  for (let at = 0; at < both; at += PIECE) {
    const end = Math.min(both, at + PIECE);
    bytes.set(a.subarray(at, end), PIECES[0]);
    bytes.set(b.subarray(at, end), PIECES[1]);
    blocks(...STATES, ...PIECES, PIECES[0] + end - at);
  }
  /** The rest of one of them, and its padding. */
  const finish = (all: Uint8Array, state: number): string => {
    const [piece] = PIECES;
    for (let at = both; ; at += PIECE) {
      const rest = all.subarray(at, at + PIECE);
      bytes.set(rest, piece);
      let size = rest.length;
      if (size < PIECE) {
        size = Math.ceil((size + 9) / BLOCK) * BLOCK;
        bytes.fill(0, piece + rest.length, piece + size);
        bytes[piece + rest.length] = 0x80;
        bytes.writeBigUInt64LE(BigInt(all.length) * 8n, piece + size - 8);
      }
      blocks(state, UNREAD, piece, piece, piece + size);
      if (rest.length < PIECE) return bytes.toString('hex', state, state + 16);
    }
  };
  return [finish(a, STATES[0]), finish(b, STATES[1])];
}

/** The MD5 of each, in lower-case hex: of two at a time, a last one by itself. None may change meanwhile. */
export function md5Each(all: readonly Uint8Array[]): readonly string[] {
  const digests = all.map(() => '');
  // The nearer their sizes, the longer two go side by side.
  const bySize = [...all.entries()].sort(([, a], [, b]) => a.length - b.length);
  for (let at = 0; at < bySize.length; at += 2) {
    const [one, other] = [bySize[at], bySize[at + 1]];
    if (one === undefined) continue;
    if (other === undefined) digests[one[0]] = createHash('md5').update(one[1]).digest('hex');
    else [digests[one[0]], digests[other[0]]] = md5Pair(one[1], other[1]);
  }
  return digests;
}
