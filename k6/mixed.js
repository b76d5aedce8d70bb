// What a busy archive does at the same time: uploads, browsing, searching, following the log and sending, over HTTP:
// node k6/mixed.mjs starts a cluster of three nodes for it; by hand: k6 run -e URL=http://127.0.0.1:8042 k6/mixed.js
import { check } from 'k6';
import encoding from 'k6/encoding';
import exec from 'k6/execution';
import http from 'k6/http';
import { makeInstance } from './instance.js';

const URL = __ENV.URL || 'http://127.0.0.1:8042';
const DURATION = __ENV.DURATION || '30s';
const SIZE = Number(__ENV.SIZE || 128);
/** Symbolic name of a modality to send to; nothing is sent where there is none. */
const MODALITY = __ENV.MODALITY || '';
const headers = __ENV.USER ? { Authorization: `Basic ${encoding.b64encode(`${__ENV.USER}:${__ENV.PASSWORD}`)}` } : {};

const scenario = (name, vus) => ({ executor: 'constant-vus', exec: name, vus, duration: DURATION });
const limit = (name, fallback) => [`p(95)<${__ENV[`P95_${name.toUpperCase()}`] || fallback}`];

export const options = {
  scenarios: {
    upload: scenario('upload', Number(__ENV.UPLOADS || 4)),
    browse: scenario('browse', Number(__ENV.BROWSERS || 3)),
    find: scenario('find', 1),
    follow: scenario('follow', 2),
    ...(MODALITY && { send: scenario('send', 1) }),
  },
  thresholds: {
    http_req_failed: ['rate==0'],
    checks: ['rate==1'],
    'http_req_duration{scenario:upload}': limit('upload', 500),
    'http_req_duration{scenario:browse}': limit('browse', 250),
    'http_req_duration{scenario:find}': limit('find', 500),
    'http_req_duration{scenario:follow}': limit('follow', 250),
    ...(MODALITY && { 'http_req_duration{scenario:send}': limit('send', 500) }),
  },
};

const any = (list) => list[Math.floor(Math.random() * list.length)];

function get(path, name) {
  const answer = http.get(`${URL}${path}`, { headers, tags: { name } });
  check(answer, { [`${name} is answered`]: (r) => r.status === 200 });
  return answer.json();
}

function store(root, patient, number) {
  const study = `${root}.${patient}`;
  const uids = {
    patient: `K6-${patient}`,
    study,
    series: `${study}.${number % 5}`,
    instance: `${root}.9.${patient}.${number}`,
  };
  const answer = http.post(`${URL}/instances`, makeInstance(uids, SIZE, SIZE), {
    headers,
    tags: { name: '/instances' },
  });
  check(answer, { 'the instance is stored': (r) => r.status === 200 && r.json('Status') === 'Success' });
}

/** Something to browse, should the server be empty. */
export function setup() {
  const root = `2.25.${Date.now()}`;
  for (let number = 0; number < 50; number++) store(root, 0, number);
  return { root };
}

export function upload({ root }) {
  store(root, exec.vu.idInTest, exec.vu.iterationInScenario);
}

export function browse() {
  const study = any(get('/studies?since=0&limit=100', '/studies'));
  const series = any(get(`/studies/${study}`, '/studies/{id}').Series);
  const instance = any(get(`/series/${series}`, '/series/{id}').Instances);
  get(`/instances/${instance}/simplified-tags`, '/instances/{id}/simplified-tags');
  const preview = http.get(`${URL}/instances/${instance}/preview`, {
    headers,
    tags: { name: '/instances/{id}/preview' },
  });
  check(preview, { 'the preview is a picture': (r) => r.status === 200 && r.headers['Content-Type'] === 'image/png' });
  get('/statistics', '/statistics');
}

export function find() {
  const question = { Level: 'Study', Query: { PatientID: 'K6-*' }, Expand: true, Limit: 20 };
  const answer = http.post(`${URL}/tools/find`, JSON.stringify(question), { headers, tags: { name: '/tools/find' } });
  check(answer, { 'studies are found': (r) => r.status === 200 && r.json().length > 0 });
}

/** Where this reader is in the log. */
let at = 0;

export function follow() {
  const { Changes } = get(`/changes?since=${at}&limit=500`, '/changes');
  check(Changes, {
    'each change follows the last': (changes) => changes.every(({ Seq }, index) => Seq === at + index + 1),
  });
  at += Changes.length;
}

export function send() {
  const [instance] = get('/instances?since=0&limit=1', '/instances');
  const body = JSON.stringify({ Resources: [instance], Asynchronous: true });
  const answer = http.post(`${URL}/modalities/${MODALITY}/store`, body, {
    headers,
    tags: { name: '/modalities/{id}/store' },
  });
  check(answer, { 'the job is queued': (r) => r.status === 200 });
  get('/jobs?limit=20', '/jobs');
}
