/** Owns the client side of DICOM TLS (PS3.15 annex B): the files of the configuration as associations are asked for with them. */

import { readFileSync } from 'node:fs';
import type { Config } from '../config.ts';
import { asError, IsenError } from '../errors.ts';
import type { AssociationRequest } from './association.ts';

/** The least version by its number in `DicomTlsMinimumProtocolVersion`; what is below is the secure default. */
const VERSIONS = { 2: 'TLSv1', 3: 'TLSv1.1', 4: 'TLSv1.2', 5: 'TLSv1.3' } as const;

type Option = 'DicomTlsCertificate' | 'DicomTlsPrivateKey' | 'DicomTlsTrustedCertificates';

function pem(config: Pick<Config, Option>, option: Option): string | undefined {
  const path = config[option];
  if (path === '') return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new IsenError('InexistentFile', `${option}: cannot read ${path}: ${asError(thrown).message}`, {
      cause: thrown,
    });
  }
}

/** What `UseDicomTls` means for associations that we ask for. Throws InexistentFile. */
export function clientTls(
  config: Pick<Config, Option | 'DicomTlsMinimumProtocolVersion'>,
): NonNullable<AssociationRequest['tls']> {
  const certificate = pem(config, 'DicomTlsCertificate');
  const key = pem(config, 'DicomTlsPrivateKey');
  const trusted = pem(config, 'DicomTlsTrustedCertificates');
  const minimum = VERSIONS[config.DicomTlsMinimumProtocolVersion as keyof typeof VERSIONS];
  return {
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
    ...(trusted !== undefined && { trusted }),
    ...(minimum !== undefined && { minimum }),
  };
}
