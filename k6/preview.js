// Looks at pictures as a viewer does, each several times: k6 run -e URL=http://127.0.0.1:8042 k6/preview.js
import { check } from 'k6';
import http from 'k6/http';
import { makeInstance } from './instance.js';

const URL = __ENV.URL || 'http://127.0.0.1:8042';
const SIZE = Number(__ENV.SIZE || 512);
const INSTANCES = Number(__ENV.INSTANCES || 100);

export const options = {
  scenarios: {
    preview: { executor: 'constant-vus', vus: Number(__ENV.VUS || 8), duration: __ENV.DURATION || '20s' },
  },
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    http_req_duration: [`p(95)<${__ENV.P95 || 250}`],
  },
};

/** Something to look at; answers the ids. */
export function setup() {
  const root = `2.25.${Date.now()}`;
  return Array.from({ length: INSTANCES }, (_, count) => {
    const uids = { patient: 'K6', study: `${root}.1`, series: `${root}.1.1`, instance: `${root}.1.1.${count}` };
    return http.post(`${URL}/instances`, makeInstance(uids, SIZE, SIZE)).json('ID');
  });
}

const any = (list) => list[Math.floor(Math.random() * list.length)];
const FORMS = ['preview', 'rendered', 'rendered?width=128', 'frames/0/image-uint16'];

export default function (ids) {
  const form = any(FORMS);
  const answer = http.get(`${URL}/instances/${any(ids)}/${form}`, {
    responseType: 'binary',
    tags: { name: `/instances/{id}/${form}` },
  });
  check(answer, {
    shown: (r) => r.status === 200 && r.headers['Content-Type'] === 'image/png' && r.body.byteLength > 100,
  });
}
