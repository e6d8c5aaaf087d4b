// Asking the gateway, with the key that was given, if one was.

const PATIENCE_MS = 10000;
const KEY = "tryage-key";

export const heldKey = () => sessionStorage.getItem(KEY);
export const holdKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(path, body) {
  const headers = {};
  const key = heldKey();
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers,
    body: body && JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const said = answer?.error?.message;
  throw new Refusal(response.status, said ?? `The gateway answered with HTTP ${response.status}.`);
}

export const isLock = (error) =>
  error instanceof Refusal && (error.status === 401 || error.status === 403);
