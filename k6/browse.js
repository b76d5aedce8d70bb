// Walks from studies to tags as a viewer does: k6 run -e URL=http://127.0.0.1:8042 k6/browse.js
import { check } from 'k6';
import http from 'k6/http';
import { makeInstance } from './instance.js';

const URL = __ENV.URL || 'http://127.0.0.1:8042';

export const options = {
  scenarios: {
    browse: { executor: 'constant-vus', vus: Number(__ENV.VUS || 8), duration: __ENV.DURATION || '20s' },
  },
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    http_req_duration: [`p(95)<${__ENV.P95 || 100}`],
  },
};

/** Something to browse, should the server be empty. */
export function setup() {
  const root = `2.25.${Date.now()}`;
  for (let count = 0; count < 50; count++) {
    const uids = {
      patient: 'K6',
      study: `${root}.1`,
      series: `${root}.1.${count % 5}`,
      instance: `${root}.1.1.${count}`,
    };
    http.post(`${URL}/instances`, makeInstance(uids, 64, 64));
  }
}

const any = (list) => list[Math.floor(Math.random() * list.length)];
const get = (path, name) => {
  const answer = http.get(`${URL}${path}`, { tags: { name } });
  check(answer, { answered: (r) => r.status === 200 });
  return answer.json();
};

export default function () {
  const study = any(get('/studies?since=0&limit=100', '/studies'));
  const series = any(get(`/studies/${study}`, '/studies/{id}').Series);
  const instance = any(get(`/series/${series}`, '/series/{id}').Instances);
  get(`/instances/${instance}/simplified-tags`, '/instances/{id}/simplified-tags');
  get(`/instances/${instance}/tags`, '/instances/{id}/tags');
  get('/changes?limit=100', '/changes');
  get('/statistics', '/statistics');
}
