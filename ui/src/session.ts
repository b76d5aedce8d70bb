/** Owns who is signed in and what they may do: asked of the server once, and again after signing in or out. */

import { computed, signal } from '@preact/signals';
import { get, loginWanted, post, remove } from './api.ts';

/** What the server says of whoever asks. */
export interface Session {
  /** Whether the server asks for names and passwords at all. */
  readonly AuthenticationEnabled: boolean;
  /** `null` where nobody is signed in. */
  readonly User: string | null;
  /** Whether what is stored may not be changed, by this user or by anybody. */
  readonly ReadOnly: boolean;
  /** Isen's version; `null` for strangers. */
  readonly Version: string | null;
}

/** The session; undefined until the server has said it. */
export const session = signal<Session | undefined>(undefined);

/** Whether buttons that change something are shown. */
export const mayWrite = computed(() => session.value !== undefined && !session.value.ReadOnly);

const PATH = 'ui/session';

function settle(now: Session): void {
  session.value = now;
  loginWanted.value = now.AuthenticationEnabled && now.User === null;
}

/** Asks the server who we are. Throws ApiError. */
export async function loadSession(): Promise<void> {
  settle(await get<Session>(PATH));
}

/** Signs in; `remember` for weeks, else until the browser is closed. Throws ApiError (401: name or password are wrong). */
export async function signIn(User: string, Password: string, remember: boolean): Promise<void> {
  settle(await post<Session>(PATH, { User, Password, Remember: remember }));
}

/** Signs out. */
export async function signOut(): Promise<void> {
  await remove(PATH);
  await loadSession();
}
