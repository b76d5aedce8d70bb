/** Owns how the suites of the cluster ask its nodes and its balancer, and what of their answers is an outage that passes. */

import { COMPOSE_FILE, type NativeCluster } from '../../deploy/native.ts';
import { readServices } from '../../deploy/compose.ts';
import { without } from '../peer.ts';
import { withoutPostgres } from '../postgres-server.ts';
import { S3_SERVER } from '../s3-server.ts';

/** `false` when the cluster can run here, else the reason to skip. */
export const withoutCluster = (): string | false =>
  without('redis-server') || without(S3_SERVER) || without('haproxy') || withoutPostgres();

/** Where requests go: a node, or the balancer. */
export interface Node {
  readonly name: string;
  readonly url: string;
  readonly authorization: string;
  /** One request; a body that is JSON is parsed. */
  get(path: string, options?: RequestInit): Promise<Answered>;
}

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

function nodeAt(name: string, address: string, authorization: string): Node {
  const url = `http://${address}`;
  return {
    name,
    url,
    authorization,
    async get(path, options = {}) {
      const answer = await fetch(`${url}${path}`, {
        signal: AbortSignal.timeout(60_000),
        ...options,
        headers: { Authorization: authorization },
      });
      const text = await answer.text();
      const isJson = answer.headers.get('content-type')?.startsWith('application/json') === true;
      return { status: answer.status, headers: answer.headers, body: isJson ? (JSON.parse(text) as unknown) : text };
    },
  };
}

/** The nodes of a cluster, in order. */
export function nodesOf(cluster: NativeCluster): readonly [Node, Node, Node] {
  const node = (name: string): Node => nodeAt(name, cluster.address(name, 8042), cluster.authorization);
  return [node('isen-1'), node('isen-2'), node('isen-3')];
}

export const balancerOf = (cluster: NativeCluster): Node =>
  nodeAt('balancer', cluster.address('balancer', 8042), cluster.authorization);

/** An answer that says: try again. */
class PassingFault extends Error {}

export const passingFault = (status: number): Error =>
  status === 503 ? new PassingFault(String(status)) : new Error(`an answer of status ${status}`);

/** Whether a failed request is one that an outage explains: 503, or a connection that broke; never a deadline that passed. */
export function isPassing(thrown: unknown): boolean {
  return (
    thrown instanceof PassingFault || (thrown instanceof TypeError && /fetch failed|terminated/.test(thrown.message))
  );
}

/** The file's services, with every variable the same text. */
export const composeServices = () => readServices(COMPOSE_FILE, new Proxy({}, { get: () => 'secret' }));
