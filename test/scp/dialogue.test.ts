/** Owns what a service is promised: its requests one by one, C-CANCEL while it works, responses to what it asks, roles. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../src/config.ts';
import { COMMAND } from '../../src/dicom/command.ts';
import { echo } from '../../src/scp/echo.ts';
import { createDicomServer } from '../../src/scp/server.ts';
import type { Exchange, Service } from '../../src/scp/service.ts';
import { requestAssociation } from '../../src/scu/requestor.ts';
import { proposed, role } from '../dicom/associate.ts';
import { BadPeer, command, fragment } from './bad-peer.ts';

const MODEL = '1.2.840.10008.5.1.4.1.2.1.3';
const CT = '1.2.840.10008.5.1.4.1.1.2';
const EXPLICIT = '1.2.840.10008.1.2.1';
const CONTEXTS = [
  proposed(1, '1.2.840.10008.1.1', [EXPLICIT]),
  proposed(3, MODEL, [EXPLICIT]),
  proposed(5, CT, [EXPLICIT]),
];
const ROLES = { more: [role(CT, 0, 1)] };

/** A C-GET that sends `count` instances over the association that asked, one after the other, until it is cancelled. */
function retrieve(count: number, heard: (exchange: Exchange) => void): Service {
  return {
    commands: [COMMAND['C-GET-RQ']],
    accepts(_peer, { abstractSyntax }) {
      if (abstractSyntax === MODEL) return { transferSyntax: EXPLICIT, peerRole: 'scu' };
      return abstractSyntax === CT ? { transferSyntax: EXPLICIT, peerRole: 'scp' } : undefined;
    },
    async serve(exchange) {
      heard(exchange);
      const { association, message, cancelled } = exchange;
      const storage = association.contexts.find(({ abstractSyntax, scp }) => abstractSyntax === CT && scp);
      assert.ok(storage !== undefined);
      let completed = 0;
      for (let index = 0; index < count && !cancelled.aborted; index++) {
        const id = association.nextMessageId();
        await association.send(
          storage,
          { CommandField: 1, MessageID: id, AffectedSOPClassUID: CT, AffectedSOPInstanceUID: `1.${index}` },
          [Buffer.alloc(40_000)],
        );
        const response = await association.receive();
        assert.equal(response?.command.MessageIDBeingRespondedTo, id);
        completed += 1;
      }
      await association.send(message.context, {
        CommandField: COMMAND['C-GET-RSP'],
        MessageIDBeingRespondedTo: message.command.MessageID ?? 0,
        Status: cancelled.aborted ? 0xfe00 : 0,
        NumberOfCompletedSuboperations: completed,
      });
    },
  };
}

async function withServices(
  services: readonly Service[],
  use: (port: number) => Promise<void>,
  options: { readonly timeout?: number } = {},
): Promise<void> {
  const { config } = loadConfig({ env: { ISEN__DICOM_PORT: '0' } });
  const server = await createDicomServer({
    config: { ...config, DicomScpTimeout: options.timeout ?? 30 },
    modalities: { list: () => Promise.resolve([]) },
    services,
  });
  const { port } = await server.listen();
  try {
    await use(port);
  } finally {
    await server.close(1000);
  }
}

const get = (id: number): Buffer =>
  Buffer.concat([
    command(3, { CommandField: COMMAND['C-GET-RQ'], MessageID: id, AffectedSOPClassUID: MODEL }, true),
    fragment(3, false, true, Buffer.alloc(10)),
  ]);
const cancel = (id: number): Buffer =>
  command(3, { CommandField: COMMAND['C-CANCEL-RQ'], MessageIDBeingRespondedTo: id }, false);

test('a service sends and is answered over the association that it answers; the next request waits', async () => {
  await withServices([echo, retrieve(3, () => {})], async (port) => {
    const stored: number[] = [];
    const association = await requestAssociation({
      host: '127.0.0.1',
      port,
      callingAet: 'US',
      calledAet: 'ISEN',
      contexts: [
        { abstractSyntax: MODEL, transferSyntaxes: [EXPLICIT] },
        { abstractSyntax: CT, transferSyntaxes: [EXPLICIT], role: 'scp' },
      ],
      patience: 5000,
      maximumPdu: 16384,
    });
    const [model, ct] = association.contexts;
    assert.ok(model !== undefined && ct?.scp === true && !ct.scu);
    const ask = { CommandField: COMMAND['C-GET-RQ'], AffectedSOPClassUID: MODEL };
    // Two requests at once: the second is answered after the first.
    await association.send(model, { ...ask, MessageID: 1 }, [Buffer.alloc(10)]);
    await association.send(model, { ...ask, MessageID: 2 }, [Buffer.alloc(10)]);
    const done: number[] = [];
    while (done.length < 2) {
      const message = await association.receive();
      assert.ok(message !== undefined);
      if (message.command.CommandField === COMMAND['C-GET-RSP']) {
        assert.equal(message.command.NumberOfCompletedSuboperations, 3);
        done.push(message.command.MessageIDBeingRespondedTo ?? 0);
        continue;
      }
      stored.push(message.dataSet?.length ?? 0);
      await association.send(message.context, {
        CommandField: 0x8001,
        MessageIDBeingRespondedTo: message.command.MessageID ?? 0,
        Status: 0,
      });
    }
    assert.deepEqual(done, [1, 2]);
    assert.deepEqual(
      stored,
      Array.from({ length: 6 }, () => 40_000),
    );
    await association.release();
  });
});

test('a cancel reaches the request that it names, and no other', async () => {
  let exchange: Exchange | undefined;
  await withServices([echo, retrieve(1000, (each) => (exchange = each))], async (port) => {
    const peer = await BadPeer.associate(port, ROLES, CONTEXTS);
    peer.send(get(7));
    let completed = 0;
    for (let index = 0; ; index++) {
      let pdu = await peer.pdu();
      // The command, then the data set in fragments.
      if (pdu?.[10] === 3) break;
      while (pdu !== undefined && (pdu[11] ?? 0) !== 2) pdu = await peer.pdu();
      completed += 1;
      if (index === 1) peer.send(cancel(99));
      if (index === 3) {
        assert.equal(exchange?.cancelled.aborted, false);
        peer.send(cancel(7));
      }
      peer.send(command(5, { CommandField: 0x8001, MessageIDBeingRespondedTo: index + 1, Status: 0 }, false));
    }
    assert.equal(completed, 4);
    assert.equal(exchange?.cancelled.aborted, true);
    peer.destroy();
  });
});

test('a service that asks only after the cancel whether it is cancelled is told as well', async () => {
  let exchange: Exchange | undefined;
  const late: Service = {
    ...retrieve(0, () => {}),
    async serve(each) {
      exchange = each;
      await each.association.receive();
      assert.equal(each.cancelled, each.cancelled);
      await each.association.send(each.message.context, {
        CommandField: COMMAND['C-GET-RSP'],
        MessageIDBeingRespondedTo: 7,
        Status: each.cancelled.aborted ? 0xfe00 : 0,
      });
    },
  };
  await withServices([late], async (port) => {
    const peer = await BadPeer.associate(port, ROLES, CONTEXTS.slice(1));
    peer.send(get(7));
    while (exchange === undefined) await sleep(5);
    // In this order: what is answered last was cancelled before.
    peer.send(cancel(7));
    peer.send(command(5, { CommandField: 0x8001, MessageIDBeingRespondedTo: 1, Status: 0 }, false));
    assert.equal((await peer.response()).Status, 0xfe00);
    peer.destroy();
  });
});

test('a service whose peer does not answer, or is gone, is told', async () => {
  const ended: unknown[] = [];
  const service = retrieve(1000, () => {});
  const told: Service = {
    ...service,
    async serve(exchange) {
      try {
        await service.serve(exchange);
      } catch (thrown) {
        ended.push(thrown);
        assert.ok(exchange.cancelled.aborted);
        throw thrown;
      }
    },
  };
  await withServices(
    [told],
    async (port) => {
      const silent = await BadPeer.associate(port, ROLES, CONTEXTS.slice(1));
      silent.send(get(1));
      assert.equal((await silent.ending()).at(-1), 7);
      for (const leave of [
        (peer: BadPeer) => peer.destroy(),
        (peer: BadPeer) => peer.send(Buffer.from([5, 0, 0, 0, 0, 4, 0, 0, 0, 0])),
        (peer: BadPeer) => peer.send(Buffer.from([7, 0, 0, 0, 0, 4, 0, 0, 0, 0])),
      ]) {
        const peer = await BadPeer.associate(port, ROLES, CONTEXTS.slice(1));
        peer.send(get(1));
        await peer.pdu();
        leave(peer);
        await peer.closed;
      }
      for (const deadline = Date.now() + 5000; ended.length < 4 && Date.now() < deadline; ) await sleep(10);
      assert.equal(ended.length, 4);
    },
    { timeout: 1 },
  );
});

test('a service that works longer than the silence of its peer may last is not disturbed', async () => {
  const slow: Service = {
    ...echo,
    async serve(exchange) {
      await sleep(1500);
      await echo.serve(exchange);
    },
  };
  await withServices(
    [slow],
    async (port) => {
      const peer = await BadPeer.associate(port, {}, CONTEXTS.slice(0, 1));
      peer.send(command(1, { CommandField: 0x30, MessageID: 1 }, false));
      assert.equal((await peer.response()).Status, 0);
      // Then the clock runs again.
      assert.deepEqual(await peer.ending(), [7]);
    },
    { timeout: 1 },
  );
});

test('a service that throws costs its peer the association, and nobody else anything', async () => {
  const faulty: Service = { ...echo, serve: () => Promise.reject(new Error('a mistake')) };
  await withServices([faulty], async (port) => {
    const peer = await BadPeer.associate(port, {}, CONTEXTS.slice(0, 1));
    peer.send(command(1, { CommandField: 0x30, MessageID: 1 }, false));
    assert.deepEqual(await peer.ending(), [7]);
    const next = await BadPeer.associate(port, {}, CONTEXTS.slice(0, 1));
    next.destroy();
  });
});
