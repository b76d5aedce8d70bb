/** Owns the making of negotiation PDUs byte by byte, right and wrong (PS3.8 §9.3.2, PS3.7 §D.3.3). */

/** An item or sub-item: type, length, value. */
export function item(type: number, value: Uint8Array): Buffer {
  const head = Buffer.from([type, 0, 0, 0]);
  head.writeUInt16BE(value.length, 2);
  return Buffer.concat([head, value]);
}

/** A proposed presentation context. */
export function proposed(id: number, abstractSyntax: string, transferSyntaxes: readonly string[]): Buffer {
  return item(
    0x20,
    Buffer.concat([
      Buffer.from([id, 0, 0, 0]),
      item(0x30, Buffer.from(abstractSyntax)),
      ...transferSyntaxes.map((uid) => item(0x40, Buffer.from(uid))),
    ]),
  );
}

/** An answered presentation context; without a transfer syntax when undefined. */
export function accepted(id: number, result: number, transferSyntax: string | undefined): Buffer {
  const syntax = transferSyntax === undefined ? [] : [item(0x40, Buffer.from(transferSyntax))];
  return item(0x21, Buffer.concat([Buffer.from([id, 0, result, 0]), ...syntax]));
}

/** User information with these items. */
export function userItem(...items: readonly Uint8Array[]): Buffer {
  return item(0x50, Buffer.concat(items));
}

/** A role selection (PS3.7 §D.3.3.4). */
export function role(abstractSyntax: string, scu: number, scp: number): Buffer {
  const uid = Buffer.from(abstractSyntax);
  return item(0x54, Buffer.concat([Buffer.from([0, uid.length]), uid, Buffer.from([scu, scp])]));
}

export interface AssociateOptions {
  readonly application?: string;
  /** Whether user information is added. */
  readonly user?: boolean;
  readonly calling?: string;
  readonly called?: string;
  /** Maximum length of the user information. */
  readonly maximum?: number;
  /** More items of the user information. */
  readonly more?: readonly Uint8Array[];
}

function associate(type: number, items: readonly Uint8Array[], options: AssociateOptions): Buffer {
  const maximum = Buffer.alloc(4);
  maximum.writeUInt32BE(options.maximum ?? 16384, 0);
  const user = userItem(item(0x51, maximum), item(0x52, Buffer.from('1.2.3.4')), ...(options.more ?? []));
  const body = Buffer.concat([
    Buffer.from([0, 1, 0, 0]),
    Buffer.from((options.called ?? 'ISEN').padEnd(16)),
    Buffer.from((options.calling ?? 'BAD').padEnd(16)),
    Buffer.alloc(32),
    item(0x10, Buffer.from(options.application ?? '1.2.840.10008.3.1.1.1')),
    ...items,
    ...(options.user === false ? [] : [user]),
  ]);
  const head = Buffer.from([type, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(body.length, 2);
  return Buffer.concat([head, body]);
}

/** A-ASSOCIATE-RQ with these items after the application context. */
export function associateRequest(items: readonly Uint8Array[], options: AssociateOptions = {}): Buffer {
  return associate(1, items, options);
}

/** A-ASSOCIATE-AC. */
export function associateAccept(items: readonly Uint8Array[], options: AssociateOptions = {}): Buffer {
  return associate(2, items, options);
}
