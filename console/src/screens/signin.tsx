// Who comes in: with a password, with one that has to be changed first, or as the first operator ever.

import { useState, type FormEvent, type ReactNode } from "react";
import { ask, problemOf, type Problem } from "../api/client";
import { session, type Session } from "../api/session";
import { useStore } from "../lib/store";
import { Button, Field, Notice, ProblemNotice } from "../ui/kit";
import { Ring } from "../ui/icons";

export function SignIn() {
  const now = useStore(session);
  const [first, setFirst] = useState(false);
  if (now.token && now.mustChange) return <ChangePassword session={now} />;
  return first ? <Setup onBack={() => setFirst(false)} /> : <Login session={now} onFirst={() => setFirst(true)} />;
}

function Gate({ title, children }: { title: string; children: ReactNode }) {
  return (
    <main className="gate">
      <div className="card">
        <div className="brand">
          <Ring /> Ringfence
        </div>
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}

/** Runs what a form is for, once at a time. */
function useAsk(): [boolean, Problem | null, (work: () => Promise<void>) => (event: FormEvent) => void] {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const submit = (work: () => Promise<void>) => (event: FormEvent) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setProblem(null);
    work()
      .catch((error: unknown) => setProblem(problemOf(error)))
      .finally(() => setBusy(false));
  };
  return [busy, problem, submit];
}

function Text({ label, value, onChange, hint, ...rest }: { label: string; value: string; onChange: (text: string) => void; hint?: string; type?: string; autoComplete: string; autoFocus?: boolean }) {
  return (
    <Field label={label} hint={hint}>
      {(id, described) => (
        <input {...rest} id={id} aria-describedby={described} className="input" required spellCheck={false} value={value} onChange={(event) => onChange(event.target.value)} />
      )}
    </Field>
  );
}

async function begin(login: string, password: string) {
  const { body } = await ask("post", "/v1/login", { body: { login, password } });
  session.begun(body.token, body.operator, login, body.must_change);
}

function Login({ session: now, onFirst }: { session: Session; onFirst: () => void }) {
  const [login, setLogin] = useState(now.login ?? "");
  const [password, setPassword] = useState("");
  const [busy, problem, submit] = useAsk();
  return (
    <Gate title="Sign in">
      {now.expired && !problem && (
        <Notice tone="note" title="Your session has ended" alert>
          <p>Sessions end 30 minutes after their last use, and when a controller starts again. You come back to where you were.</p>
        </Notice>
      )}
      {problem && <ProblemNotice problem={problem} />}
      <form onSubmit={submit(() => begin(login, password))}>
        <Text label="Login" value={login} onChange={setLogin} autoComplete="username" autoFocus={!now.login} />
        <Text label="Password" type="password" value={password} onChange={setPassword} autoComplete="current-password" autoFocus={!!now.login} />
        <Button type="submit" look="main" disabled={busy}>
          {busy ? "Signing in…" : "Sign in"}
        </Button>
      </form>
      <Button look="plain" onClick={onFirst}>
        A new controller: make its first operator
      </Button>
    </Gate>
  );
}

function ChangePassword({ session: now }: { session: Session }) {
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const [busy, problem, submit] = useAsk();
  const differ = again !== "" && next !== again;
  const change = async () => {
    if (next !== again) return;
    await ask("post", "/v1/password", { body: { old, new: next } });
    // All sessions ended with the old password, this one too.
    const login = now.login ?? "";
    session.out();
    if (login) await begin(login, next);
  };
  return (
    <Gate title="Choose a password of your own">
      <p className="quiet">Somebody else has set the one you signed in with. Until it is changed, it opens nothing.</p>
      {problem && <ProblemNotice problem={problem} />}
      <form onSubmit={submit(change)}>
        <Text label="Password you were given" type="password" value={old} onChange={setOld} autoComplete="current-password" autoFocus />
        <Text label="New password" type="password" value={next} onChange={setNext} autoComplete="new-password" hint="Twelve characters or more. Length counts, not signs." />
        <Text label="New password again" type="password" value={again} onChange={setAgain} autoComplete="new-password" hint={differ ? "This is not the same." : ""} />
        <Button type="submit" look="main" disabled={busy || differ}>
          Change password
        </Button>
      </form>
      <Button look="plain" onClick={() => session.out()}>
        Sign in as somebody else
      </Button>
    </Gate>
  );
}

function Setup({ onBack }: { onBack: () => void }) {
  const [secret, setSecret] = useState("");
  const [login, setLogin] = useState("");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [busy, problem, submit] = useAsk();
  const make = async () => {
    const { body } = await ask("post", "/v1/setup", { body: { secret: secret.trim(), login, name, password } });
    session.begun(body.token, body.operator, login, body.must_change);
  };
  return (
    <Gate title="The first operator">
      <p className="quiet">
        Whoever can read the controller's folder is its administrator: the file <code>setup-token</code> there has the secret, and is worth something once.
      </p>
      {problem && <ProblemNotice problem={problem} />}
      <form onSubmit={submit(make)}>
        <Text label="Secret from setup-token" type="password" value={secret} onChange={setSecret} autoComplete="off" autoFocus />
        <Text label="Name" value={name} onChange={setName} autoComplete="name" />
        <Text label="Login" value={login} onChange={setLogin} autoComplete="username" />
        <Text label="Password" type="password" value={password} onChange={setPassword} autoComplete="new-password" hint="Twelve characters or more. Length counts, not signs." />
        <Button type="submit" look="main" disabled={busy}>
          Make operator and sign in
        </Button>
      </form>
      <Button look="plain" onClick={onBack}>
        Back to sign in
      </Button>
    </Gate>
  );
}
