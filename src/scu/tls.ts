/** Owns the client side of DICOM TLS (PS3.15 annex B): the files of the configuration as associations are asked for with them. */

import { readFileSync } from 'node:fs';
import type { Config } from '../config.ts';
import { asError, IsenError } from '../errors.ts';
import type { AssociationRequest } from './association.ts';

/** Oldest TLS version by its number in `DicomTlsMinimumProtocolVersion`; 0 is the secure default. */
export const TLS_VERSIONS = ['TLSv1.2', 'TLSv1', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3', 'TLSv1.3'] as const;

/** A file of the configuration. Throws InexistentFile, naming the option. */
export function pem(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new IsenError('InexistentFile', `${option}: cannot read ${path}: ${asError(thrown).message}`, {
      cause: thrown,
    });
  }
}

/** What `UseDicomTls` means for associations that we ask for. Throws InexistentFile, naming the option. */
export function clientTls(
  config: Pick<
    Config,
    'DicomTlsCertificate' | 'DicomTlsPrivateKey' | 'DicomTlsTrustedCertificates' | 'DicomTlsMinimumProtocolVersion'
  >,
): NonNullable<AssociationRequest['tls']> {
  const given = (option: string, path: string): string | undefined => (path === '' ? undefined : pem(option, path));
  const certificate = given('DicomTlsCertificate', config.DicomTlsCertificate);
  const key = given('DicomTlsPrivateKey', config.DicomTlsPrivateKey);
  const trusted = given('DicomTlsTrustedCertificates', config.DicomTlsTrustedCertificates);
  const minimum = TLS_VERSIONS[config.DicomTlsMinimumProtocolVersion];
  return {
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
    ...(trusted !== undefined && { trusted }),
    ...(minimum !== undefined && { minimum }),
  };
}
