/**
 * Owns the folders of the WebDAV server: patients, studies and dates by what people call them, studies by their UIDs, and what each path
 * stands for. Folders are made of what the index says; none of them is stored.
 */

import type { Database, Found, FindRequest, RevisedAttachment } from '../database/database.ts';
import { DICOM_ATTACHMENT } from '../database/database.ts';
import { LEVEL, type Level } from '../dicom/levels.ts';
import { Kept } from '../kept.ts';

/** Resources looked up together. */
const PAGE = 1000;

/** Characters of names that are remembered with what they stand for. */
const REMEMBERED = 16 * 2 ** 20;

/** Years in which studies are looked for. */
const FIRST_YEAR = 1890;

export const TOP = ['by-dates', 'by-patients', 'by-studies', 'by-uids'] as const;
type Top = (typeof TOP)[number];

/** What a path stands for. */
export type Node =
  | { readonly kind: 'root' | 'uploads' }
  | { readonly kind: 'top'; readonly top: Top }
  /** `2010`, or `2010-06`. */
  | { readonly kind: 'dates'; readonly from: string; readonly to: string; readonly year?: string }
  | { readonly kind: 'resource'; readonly top: Top; readonly found: Found }
  /** A DICOM file, or what a resource is said to be in JSON. */
  | { readonly kind: 'file'; readonly found: Found; readonly attachment: RevisedAttachment }
  | { readonly kind: 'json'; readonly found: Found };

/** One entry of a folder. */
export interface Member {
  readonly name: string;
  readonly node: Node;
}

/** Characters that a name of a file cannot hold on one system or another, or that would end it. */
const UNUSABLE = /[/\\\p{Cc}]/gu;

const nameOf = (...parts: readonly (string | undefined)[]): string =>
  parts
    .map((part) => (part ?? '').replaceAll(UNUSABLE, ' ').trim())
    .join(' - ')
    .trim();

/** The name of a resource in the folder of its kind, as the reference makes it. */
function titleOf(top: Top, { level, tags, id }: Found): string {
  if (top === 'by-uids') {
    if (level === 'Study') return nameOf(tags['0020,000d']);
    if (level === 'Series') return nameOf(tags['0020,000e']);
    return `${nameOf(tags['0008,0018'])}.dcm`;
  }
  switch (level) {
    case 'Patient':
      return nameOf(tags['0010,0020'], tags['0010,0010']);
    case 'Study':
      return top === 'by-patients'
        ? nameOf(tags['0008,0020'], tags['0008,1030'])
        : nameOf(tags['0010,0020'], tags['0010,0010'], tags['0008,1030']);
    case 'Series':
      return nameOf(tags['0008,0060'], tags['0008,103e']);
    case 'Instance':
      return `${id}.dcm`;
  }
}

const JSON_NAME: Readonly<Partial<Record<Level, string>>> = { Study: 'study.json', Series: 'series.json' };

const month = (year: string, number: number): string => `${year}-${String(number).padStart(2, '0')}`;

/** The folders over an index. */
export class Folders {
  readonly #database: Pick<Database, 'find'>;
  /** Public ids by folder and name, so that what was just listed is not looked for again. */
  readonly #known = new Kept<string>(REMEMBERED);

  constructor(database: Pick<Database, 'find'>) {
    this.#database = database;
  }

  /** What the segments of a path below `/webdav` stand for, or undefined. */
  async at(path: readonly string[]): Promise<Node | undefined> {
    let node: Node = { kind: 'root' };
    for (const name of path) {
      const next: Node | undefined = await this.#child(node, name);
      if (next === undefined) return undefined;
      node = next;
    }
    return node;
  }

  /** What is in a folder, page by page; nothing where it is none. Two that would have the same name differ by a number. */
  async *members(node: Node): AsyncGenerator<Member, void> {
    switch (node.kind) {
      case 'root':
        for (const top of TOP) yield { name: top, node: { kind: 'top', top } };
        yield { name: 'uploads', node: { kind: 'uploads' } };
        return;
      case 'top':
        if (node.top === 'by-dates') yield* this.#years();
        else yield* this.#resources(node.top, { level: node.top === 'by-patients' ? 'Patient' : 'Study' }, '');
        return;
      case 'dates':
        if (node.year === undefined) yield* this.#resources('by-dates', studiesOf(node.from, node.to), node.from);
        else yield* this.#months(node.year);
        return;
      case 'resource': {
        const { top, found } = node;
        const json = top === 'by-uids' ? JSON_NAME[found.level] : undefined;
        if (json !== undefined) yield { name: json, node: { kind: 'json', found } };
        const level = LEVEL[found.level].child;
        if (level !== undefined)
          yield* this.#resources(top, { level, of: { level: found.level, id: found.id } }, found.id);
        return;
      }
      case 'uploads':
      case 'file':
      case 'json':
        return;
    }
  }

  async #child(node: Node, name: string): Promise<Node | undefined> {
    if (node.kind === 'top' && node.top === 'by-dates') return yearOf(name);
    if (node.kind === 'dates' && node.year !== undefined) return monthOf(node.year, name);
    const direct = await this.#direct(node, name);
    if (direct !== undefined) return direct;
    const key = `${folderKey(node)}/${name}`;
    const id = this.#known.get(key);
    if (id !== undefined) {
      const [level, publicId] = id.split(' ') as [Level, string];
      const [found] = await this.#database.find({ level, id: publicId });
      const top = node.kind === 'resource' || node.kind === 'top' ? node.top : 'by-dates';
      // It may be called something else by now.
      if (found !== undefined && titleOf(top, found) === name) return nodeOf(top, found);
    }
    for await (const member of this.members(node)) if (member.name === name) return member.node;
    return undefined;
  }

  /** What a name says by itself: a UID, or the public id of an instance. */
  async #direct(node: Node, name: string): Promise<Node | undefined> {
    if (node.kind === 'resource' && node.top !== 'by-uids') {
      const id = /^([0-9a-f]{8}(?:-[0-9a-f]{8}){4})\.dcm$/.exec(name)?.[1];
      const [found] = id === undefined ? [] : await this.#database.find({ level: 'Instance', id });
      return found?.parent === node.found.id ? nodeOf(node.top, found) : undefined;
    }
    if ((node.kind !== 'top' && node.kind !== 'resource') || node.top !== 'by-uids') return undefined;
    const level = node.kind === 'top' ? 'Study' : LEVEL[node.found.level].child;
    if (level === undefined) return undefined;
    const value = level === 'Instance' ? name.replace(/\.dcm$/, '') : name;
    const of = node.kind === 'resource' ? { of: { level: node.found.level, id: node.found.id } } : {};
    const where = [{ tag: LEVEL[level].key, match: 'equal', value, caseSensitive: true }] as const;
    const [found] = await this.#database.find({ level, ...of, where, limit: 1 });
    return found && nodeOf('by-uids', found);
  }

  async *#resources(top: Top, request: FindRequest, folder: string): AsyncGenerator<Member, void> {
    const taken = new Map<string, number>();
    for (let after = ''; ; ) {
      const page = await this.#database.find({ ...request, limit: PAGE, ...(after !== '' && { after }) });
      for (const found of page) {
        const title = titleOf(top, found);
        const times = (taken.get(title) ?? 0) + 1;
        taken.set(title, times);
        const node = nodeOf(top, found);
        if (node === undefined) continue;
        if (times === 1) this.#known.add(`${top} ${folder}/${title}`, `${found.level} ${found.id}`);
        yield { name: times === 1 ? title : `${title} (${times})`, node };
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      after = last.id;
    }
  }

  async *#years(): AsyncGenerator<Member, void> {
    const last = new Date().getFullYear() + 1;
    for (let year = FIRST_YEAR; year <= last; year += 1) {
      const node = yearOf(String(year));
      if (node?.kind === 'dates' && (await this.#hasStudies(node))) yield { name: String(year), node };
    }
  }

  async *#months(year: string): AsyncGenerator<Member, void> {
    for (let number = 1; number <= 12; number += 1) {
      const name = month(year, number);
      const node = monthOf(year, name);
      if (node?.kind === 'dates' && (await this.#hasStudies(node))) yield { name, node };
    }
  }

  async #hasStudies({ from, to }: { readonly from: string; readonly to: string }): Promise<boolean> {
    return (await this.#database.find({ ...studiesOf(from, to), idsOnly: true, limit: 1 })).length > 0;
  }
}

const studiesOf = (from: string, to: string): FindRequest => ({
  level: 'Study',
  where: [{ tag: '0008,0020', match: 'range', from, to, caseSensitive: false }],
});

function yearOf(name: string): Node | undefined {
  return /^\d{4}$/.test(name) ? { kind: 'dates', from: `${name}0101`, to: `${name}1231`, year: name } : undefined;
}

function monthOf(year: string, name: string): Node | undefined {
  if (!name.startsWith(`${year}-`) || !/^\d{4}-(0[1-9]|1[0-2])$/.test(name)) return undefined;
  const digits = name.replace('-', '');
  return { kind: 'dates', from: `${digits}01`, to: `${digits}31` };
}

/** What tells a folder from every other one. */
function folderKey(node: Node): string {
  switch (node.kind) {
    case 'top':
      return `${node.top} `;
    case 'dates':
      return `by-dates ${node.from}`;
    case 'resource':
      return `${node.top} ${node.found.id}`;
    case 'root':
    case 'uploads':
    case 'file':
    case 'json':
      return node.kind;
  }
}

function nodeOf(top: Top, found: Found): Node | undefined {
  if (found.level !== 'Instance') return { kind: 'resource', top, found };
  const attachment = found.attachments.find(({ contentType }) => contentType === DICOM_ATTACHMENT);
  return attachment && { kind: 'file', found, attachment };
}
