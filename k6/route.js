// Uploads distinct instances to a server that forwards them by a rule, and asserts that the receiver got all of them:
// node k6/route.mjs starts both servers; by hand: k6 run -e URL=http://127.0.0.1:8042 -e RECEIVER=http://127.0.0.1:8043 k6/route.js
import { check, fail, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { makeInstance } from './instance.js';

const URL = __ENV.URL || 'http://127.0.0.1:8042';
const RECEIVER = __ENV.RECEIVER || 'http://127.0.0.1:8043';
const COUNT = Number(__ENV.COUNT || 2000);
const SIZE = Number(__ENV.SIZE || 128);
/** Seconds that the receiver may lag behind at the end. */
const LAG = Number(__ENV.LAG || 30);

export const options = {
  scenarios: {
    route: { executor: 'shared-iterations', vus: Number(__ENV.VUS || 8), iterations: COUNT, maxDuration: '10m' },
  },
  thresholds: { http_req_failed: ['rate==0'], checks: ['rate==1'] },
  teardownTimeout: `${LAG + 30}s`,
};

const count = (url) => http.get(`${url}/statistics`).json().CountInstances;

export function setup() {
  return { root: `2.25.${Date.now()}`, before: count(RECEIVER), began: Date.now() };
}

export default function (data) {
  const number = exec.scenario.iterationInTest;
  const study = `${data.root}.${Math.floor(number / 500)}`;
  const uids = {
    patient: `K6-${Math.floor(number / 500)}`,
    study,
    series: `${study}.${Math.floor(number / 100)}`,
    instance: `${data.root}.9.${number}`,
  };
  const answer = http.post(`${URL}/instances`, makeInstance(uids, SIZE, SIZE));
  check(answer, { stored: (r) => r.status === 200 && r.json().Status === 'Success' });
}

export function teardown(data) {
  const uploaded = Date.now();
  for (const end = uploaded + LAG * 1000; Date.now() < end; sleep(0.1)) {
    if (count(RECEIVER) - data.before === COUNT) {
      const [took, lag] = [(uploaded - data.began) / 1000, (Date.now() - uploaded) / 1000];
      console.log(
        `${COUNT} uploaded in ${took} s (${(COUNT / took).toFixed(0)}/s); the receiver had all ${lag} s later`,
      );
      return;
    }
  }
  fail(`the receiver got ${count(RECEIVER) - data.before} of ${COUNT}`);
}
