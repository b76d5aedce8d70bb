// Uploads distinct instances: k6 run -e URL=http://127.0.0.1:8042 k6/upload.js
import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { makeInstance } from './instance.js';

const URL = __ENV.URL || 'http://127.0.0.1:8042';
const SIZE = Number(__ENV.SIZE || 128);

export const options = {
  scenarios: {
    upload: { executor: 'constant-vus', vus: Number(__ENV.VUS || 8), duration: __ENV.DURATION || '20s' },
  },
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    http_req_duration: [`p(95)<${__ENV.P95 || 250}`],
  },
};

export function setup() {
  return { root: `2.25.${Date.now()}` };
}

export default function ({ root }) {
  const { idInTest } = exec.vu;
  const { iterationInTest } = exec.scenario;
  const body = makeInstance(
    {
      patient: `K6-${idInTest}`,
      study: `${root}.${idInTest}`,
      series: `${root}.${idInTest}.${Math.floor(iterationInTest / 200)}`,
      instance: `${root}.${idInTest}.1.${iterationInTest}`,
    },
    SIZE,
    SIZE,
  );
  const answer = http.post(`${URL}/instances`, body, { headers: { 'Content-Type': 'application/dicom' } });
  check(answer, { stored: (r) => r.status === 200 && r.json('Status') === 'Success' });
}
