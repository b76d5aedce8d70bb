/** Owns signing in. */

import { useState } from 'preact/hooks';
import { messageOf } from '../api.ts';
import { signIn } from '../session.ts';
import { t } from '../texts.ts';

/** The page that stands before all others where the server wants a name and a password. */
export function Login() {
  const [user, setUser] = useState('');
  const [password, setPassword] = useState('');
  const [remember, setRemember] = useState(true);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const submit = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      await signIn(user, password, remember);
    } catch (thrown) {
      setError(thrown);
      setPassword('');
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class="login">
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h1>{t.login.title}</h1>
        <label class="field">
          <span>{t.login.user}</span>
          <input
            autoFocus
            required
            name="username"
            autocomplete="username"
            value={user}
            onInput={(event) => setUser(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>{t.login.password}</span>
          <input
            required
            type="password"
            name="password"
            autocomplete="current-password"
            value={password}
            onInput={(event) => setPassword(event.currentTarget.value)}
          />
        </label>
        <label class="check">
          <input type="checkbox" checked={remember} onChange={(event) => setRemember(event.currentTarget.checked)} />
          {t.login.remember}
        </label>
        <p class="form-error" role="alert">
          {error === undefined ? '' : messageOf(error)}
        </p>
        <button type="submit" class="button primary" disabled={busy}>
          {t.login.submit}
        </button>
      </form>
    </main>
  );
}
