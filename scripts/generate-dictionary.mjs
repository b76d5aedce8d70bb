// Makes src/dicom/tags.generated.ts and src/dicom/uids.generated.ts from DCMTK's dictionaries and UID list, whose keywords
// Orthanc's clients know. Usage: node scripts/generate-dictionary.mjs [folder of dicom.dic and private.dic]
// Without the folder it is found through Debian's package of DCMTK (libdcmtk17 or libdcmtk-data).
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;

/** The licence of what the tables are taken from, which travels with them. */
const LICENCE = `
 *
 * Copyright (C) 1994-2022, OFFIS e.V. All rights reserved. This software and supporting documentation were developed by OFFIS e.V.,
 * R&D Division Health, Escherweg 2, 26121 Oldenburg, Germany.
 *
 * Redistribution and use in source and binary forms, with or without modification, are permitted provided that the following conditions
 * are met:
 * - Redistributions of source code must retain the above copyright notice, this list of conditions and the following disclaimer.
 * - Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following disclaimer in the
 *   documentation and/or other materials provided with the distribution.
 * - Neither the name of OFFIS nor the names of its contributors may be used to endorse or promote products derived from this software
 *   without specific prior written permission.
 *
 * THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT
 * LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT
 * HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT
 * LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY
 * THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
 * OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE. */`;

function dictionaryFolder() {
  const given = process.argv[2];
  if (given !== undefined) return given;
  const folder = readdirSync('/usr/share')
    .filter((name) => name.startsWith('libdcmtk') || name.startsWith('dcmtk'))
    .map((name) => join('/usr/share', name))
    .find((path) => existsSync(join(path, 'dicom.dic')));
  if (folder === undefined) throw new Error('no dicom.dic under /usr/share: install dcmtk, or name the folder');
  return folder;
}

const lines = (path) =>
  readFileSync(path, 'latin1')
    .split('\n')
    .filter((line) => line.startsWith('('))
    .map((line) => line.split('\t'));

const folder = dictionaryFolder();
const tags = new Map();
const ranges = [];
for (const [tag, vr, name, vm, version] of lines(join(folder, 'dicom.dic'))) {
  // The generic rows (any private creator, any group length) are rules, which dictionary.ts states itself.
  if (/GENERIC|ILLEGAL|PRIVATE/.test(version)) continue;
  // The one retired keyword that Orthanc's clients know without its prefix.
  const keyword = name === 'RETIRED_OtherPatientIDs' ? 'OtherPatientIDs' : name;
  const plain = /^\(([0-9a-f]{4}),([0-9a-f]{4})\)$/i.exec(tag);
  if (plain !== null) {
    tags.set(`${plain[1]}${plain[2]}`.toLowerCase(), `${vr}${keyword} ${vm}`);
    continue;
  }
  const range = /^\(([0-9a-f]{4})(?:-([0-9a-f]{4}))?,([0-9a-f]{4})(?:-([0-9a-f]{4}))?\)$/i.exec(tag);
  if (range === null) throw new Error(`cannot read ${tag}`);
  const [, group, lastGroup = group, element, lastElement = element] = range;
  ranges.push(`${group}${lastGroup}${element}${lastElement}`.toLowerCase() + `${vr}${name} ${vm}`);
}
const creators = new Map();
for (const [tag, vr, spaced, vm] of lines(join(folder, 'private.dic'))) {
  const name = spaced.replaceAll(' ', '');
  const parts = /^\(([0-9a-f]{4})(?:-o-([0-9a-f]{4}))?,"([^"]*)",(?:1[0-9a-f])?([0-9a-f]{2})\)$/i.exec(tag);
  if (parts === null) throw new Error(`cannot read ${tag}`);
  const [, group, lastGroup = group, creator, element] = parts;
  const rows = creators.get(creator) ?? new Map();
  rows.set(`${group}${lastGroup}${element}`.toLowerCase(), `${vr}${name} ${vm}`);
  creators.set(creator, rows);
}

const revision = /Generated automatically from (.*)\./.exec(readFileSync(join(folder, 'dicom.dic'), 'latin1'))?.[1];
const block = (rows) => `\`\n${rows.join('\n').replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\n\``;
const sorted = (map) => [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => key + value);

writeFileSync(
  join(root, 'src/dicom/tags.generated.ts'),
  `/* Made by scripts/generate-dictionary.mjs from DCMTK's dicom.dic (${revision}) and private.dic: do not edit.${LICENCE}

/** One row a tag: group and element (8 hex digits), VR, keyword, space, VM. */
export const TAGS = ${block(sorted(tags))};

/** First and last group (even ones only), first and last element (4 × 4 hex digits), VR, keyword, space, VM. */
export const TAG_RANGES = ${block(ranges)};

/** A line that begins with = names a private creator; its rows: first and last group (odd ones), element's low byte, VR, keyword, space, VM. */
export const PRIVATE_TAGS = ${block([...creators].flatMap(([creator, rows]) => [`=${creator}`, ...sorted(rows)]))};
`,
);

// DCMTK's UID table is compiled into its library: take each UID of the Standard found there, and have dcmdump say its name.
const library = /libdcmdata\S* => (\S+)/.exec(
  execFileSync('ldd', [execFileSync('which', ['dcmdump'], { encoding: 'utf8' }).trim()], { encoding: 'utf8' }),
)?.[1];
if (library === undefined) throw new Error('dcmdump does not use libdcmdata');
const candidates = [...new Set(readFileSync(library, 'latin1').match(/(?<=\0)1\.2\.840\.10008\.[\d.]+(?=\0)/g))].sort(
  (a, b) => (a < b ? -1 : 1),
);
const work = mkdtempSync(join(tmpdir(), 'uids-'));
writeFileSync(
  join(work, 'uids.dump'),
  candidates.map((uid, index) => `(0009,${(0x1000 + index).toString(16)}) UI [${uid}]\n`).join(''),
);
execFileSync('dump2dcm', [join(work, 'uids.dump'), join(work, 'uids.dcm')]);
const dump = execFileSync('dcmdump', ['+L', join(work, 'uids.dcm')], { encoding: 'latin1' });
rmSync(work, { recursive: true });
const names = [...dump.matchAll(/^\(0009,(\w{4})\) UI =(\w+) /gm)];
writeFileSync(
  join(root, 'src/dicom/uids.generated.ts'),
  `/* Made by scripts/generate-dictionary.mjs from DCMTK's table of UIDs: do not edit.${LICENCE}

/** One row a UID of PS3.6 Annex A: UID, space, name. */
export const UIDS = ${block(names.map(([, element, name]) => `${candidates[Number.parseInt(element, 16) - 0x1000]} ${name}`))};
`,
);
