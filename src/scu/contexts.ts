/**
 * Owns which presentation contexts an association for sending asks for (PS3.8 §9.3.2.2): of every SOP class each transfer syntax
 * that its instances are stored in, in a context of its own, so that the peer takes or leaves it; and one context more of what they
 * could be transcoded to.
 */

import {
  EXPLICIT_BIG_ENDIAN,
  EXPLICIT_LITTLE_ENDIAN,
  IMPLICIT_LITTLE_ENDIAN,
  transferSyntax,
} from '../dicom/transfer-syntaxes.ts';
import type { PresentationContext, ProposedContext } from './association.ts';

/** Contexts of one association: their ids are odd bytes. */
export const MOST_CONTEXTS = 128;

/** What is sent in one way: instances of one SOP class in one transfer syntax. */
export interface Kind {
  readonly sopClassUid: string;
  readonly transferSyntax: string;
}

/** What a stored instance may become on its way without becoming another instance, the best first. */
export function transcodingTargets(preferred: string): readonly string[] {
  const lossless = transferSyntax(preferred)?.lossy === false ? [preferred] : [];
  return [...new Set([...lossless, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN])];
}

/** The kinds that one association is to carry. */
export class ContextSet {
  readonly #targets: readonly string[];
  readonly #syntaxes = new Map<string, Set<string>>();
  #size = 0;

  /** `targets`: what may be transcoded to ({@link transcodingTargets}); none where transcoding is not allowed. */
  constructor(targets: readonly string[]) {
    this.#targets = targets;
  }

  has({ sopClassUid, transferSyntax: syntax }: Kind): boolean {
    return this.#syntaxes.get(sopClassUid)?.has(syntax) ?? false;
  }

  /** Adds a kind; answers false, changing nothing, where there is no room for it. */
  add(kind: Kind): boolean {
    if (this.has(kind)) return true;
    const of = this.#syntaxes.get(kind.sopClassUid);
    // A class costs a context for its targets, whether it will be needed or not.
    const cost = 1 + (of === undefined && this.#targets.length > 0 ? 1 : 0);
    if (this.#size + cost > MOST_CONTEXTS) return false;
    this.#size += cost;
    if (of === undefined) this.#syntaxes.set(kind.sopClassUid, new Set([kind.transferSyntax]));
    else of.add(kind.transferSyntax);
    return true;
  }

  get size(): number {
    return this.#size;
  }

  kinds(): readonly Kind[] {
    return [...this.#syntaxes].flatMap(([sopClassUid, syntaxes]) =>
      [...syntaxes].map((syntax) => ({ sopClassUid, transferSyntax: syntax })),
    );
  }

  /** At most {@link MOST_CONTEXTS}. */
  proposals(): readonly ProposedContext[] {
    return [...this.#syntaxes].flatMap(([abstractSyntax, syntaxes]) => {
      const targets = this.#targets.filter((target) => !syntaxes.has(target));
      return [
        ...[...syntaxes].map((syntax) => ({ abstractSyntax, transferSyntaxes: [syntax] })),
        ...(targets.length > 0 ? [{ abstractSyntax, transferSyntaxes: targets }] : []),
      ];
    });
  }
}

/** The accepted context that carries a kind as it is. */
export function contextOf(
  contexts: readonly PresentationContext[],
  { sopClassUid, transferSyntax: syntax }: Kind,
): PresentationContext | undefined {
  return contexts.find((each) => each.abstractSyntax === sopClassUid && each.transferSyntax === syntax);
}

/** The accepted contexts that instances of a class may be transcoded for, the best first. */
export function targetContexts(
  contexts: readonly PresentationContext[],
  sopClassUid: string,
  targets: readonly string[],
): readonly PresentationContext[] {
  const order = [...targets, EXPLICIT_BIG_ENDIAN];
  return contexts
    .filter((each) => each.abstractSyntax === sopClassUid && order.includes(each.transferSyntax))
    .sort((a, b) => order.indexOf(a.transferSyntax) - order.indexOf(b.transferSyntax));
}
