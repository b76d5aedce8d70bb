/** Owns the certificates of the TLS suites, made with openssl: an authority, a server and a client that it signed, and a stranger. */

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Paths of PEM files. */
export interface Pair {
  readonly certificate: string;
  readonly key: string;
}

export interface Certificates {
  readonly authority: string;
  readonly server: Pair;
  readonly client: Pair;
  /** Signed by itself. */
  readonly stranger: Pair;
}

/** Makes them in a folder. */
export function certificates(folder: string): Certificates {
  const openssl = (line: string): void => {
    execFileSync('openssl', line.split(' '), { cwd: folder, stdio: 'ignore' });
  };
  const pair = (name: string): Pair => ({
    certificate: join(folder, `${name}.pem`),
    key: join(folder, `${name}.key`),
  });
  const selfSigned = (name: string): Pair => {
    const { certificate, key } = pair(name);
    openssl(`req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=${name} -keyout ${key} -out ${certificate}`);
    return { certificate, key };
  };
  const authority = selfSigned('authority');
  const signed = (name: string): Pair => {
    const { certificate, key } = pair(name);
    const request = join(folder, `${name}.csr`);
    const extensions = join(folder, `${name}.ext`);
    writeFileSync(extensions, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
    openssl(`req -newkey rsa:2048 -nodes -subj /CN=${name} -keyout ${key} -out ${request}`);
    const by = `-CA ${authority.certificate} -CAkey ${authority.key} -CAcreateserial`;
    openssl(`x509 -req -days 2 -in ${request} ${by} -extfile ${extensions} -out ${certificate}`);
    return { certificate, key };
  };
  return {
    authority: authority.certificate,
    server: signed('server'),
    client: signed('client'),
    stranger: selfSigned('stranger'),
  };
}
