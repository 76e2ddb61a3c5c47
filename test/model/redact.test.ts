import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { recordedLabels, redact } from '../../model/redact.ts';

const JWT = `eyJhbGciOiJIUzI1NiJ9.${'eyJzdWIiOiIxMjM0NTY3ODkwIn0'}.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U`;
const PEM = '-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAtest\nabcdef\n-----END RSA PRIVATE KEY-----';

describe('redact', () => {
  test.for([
    ['password', { password: 'x' }, { password: '[redacted]' }],
    [
      'in any case and spelling',
      { DB_Passwd: 'x', apiKey: 'y', 'X-Api-Key': 'z' },
      { DB_Passwd: '[redacted]', apiKey: '[redacted]', 'X-Api-Key': '[redacted]' },
    ],
    [
      'of AWS',
      { secretAccessKey: 's', sessionToken: 't', accessKeyId: 'id' },
      { secretAccessKey: '[redacted]', sessionToken: '[redacted]', accessKeyId: 'id' },
    ],
    [
      'of headers',
      { Authorization: 'x', cookie: ['a=b', 'c=d'] },
      { Authorization: '[redacted]', cookie: ['[redacted]', '[redacted]'] },
    ],
    [
      'of what is below',
      { credentials: { user: 'a', pass: 'b', age: 3 } },
      { credentials: { user: '[redacted]', pass: '[redacted]', age: 3 } },
    ],
    [
      'of a Kubernetes Secret',
      { kind: 'Secret', metadata: { name: 'a' }, data: { a: 'YQ==' } },
      { kind: 'Secret', metadata: { name: 'a' }, data: { a: '[redacted]' } },
    ],
    [
      'of a variable',
      {
        env: [
          { name: 'DB_PASSWORD', value: 'x' },
          { name: 'MODE', value: 'y' },
        ],
      },
      {
        env: [
          { name: 'DB_PASSWORD', value: '[redacted]' },
          { name: 'MODE', value: 'y' },
        ],
      },
    ],
    [
      'of a change',
      { field: 'data[db-password]', before: 'x', after: null },
      { field: 'data[db-password]', before: '[redacted]', after: null },
    ],
  ] as const)('removes what the name of a field says is secret: %s', ([, value, clean]) => {
    expect(redact(value)).toEqual(clean);
  });

  test.for([
    { tokenReviewed: true, tokens: 3, secret: null, passwordFile: './p', secretName: 'db', tokenPath: '/var/run/x' },
    {
      kind: 'held',
      held: {
        field: 'metadata.labels[salvor.dev/traffic]',
        before: 'on',
        set: 'off',
        until: '2026-11-22T20:00:00.000Z',
      },
    },
    {
      uid: '3fce89a7-5f8f-4859-9169-79359665e549',
      digest: '3fce89a75f8f3859',
      requestId: 'b1946ac9-2492-4d23-87c6-235b4d2611184',
    },
    'the token: expired, the secret: not found, password of the user, author: ada',
    'token-api web-7d4b9c6f5-x2x9z is not Ready; secret shop/db-7d4b9c6f5 is not found; pod token-7d4b9c6f5-x2x9z',
    'Basic authentication is not configured; a bearer of news',
    'http://prometheus.example:9090/graph?g0.expr=up&g0.tab=1 and mail ada@example.org, ssh://git@example.org/x',
    'k8s/prod/shop/pod/web-7d4b9c6f5-x2x9z is not Ready since 2026-11-22T20:00:00Z (5m30s)',
    'k8s/prod/shop/pod/sk-learn-serving-6d4f8b7c9d-x2vkq and k8s/prod/ricplt/pod/xapp-onboarder-5958856fc8-abcde',
    'a secret of the trade, tokens per second: 42, credential helpers',
    { rule: { name: 'pod-unready', with: { traffic: 'auto', recoverWithin: 300_000 } } },
  ])('leaves alone what is none: %j', (value) => {
    expect(redact(value)).toEqual(value);
  });

  const texts: [secret: string, text: string][] = [
    ['hunter2', 'login failed: password=hunter2 for user ada'],
    ['hunter2', 'psql "host=db password=hunter2"'],
    ['hunter2', 'password: hunter2'],
    ['hunter2!x', `{"user":"ada","password":"hunter2!x"`],
    ['hunter2"x', JSON.stringify({ text: 'a', password: 'hunter2"x' })],
    ['hunter2', JSON.stringify(JSON.stringify({ password: 'hunter2' }))],
    ['hunter2', 'curl --password hunter2 https://example.org'],
    ['s3cr3tToken9', 'run --api-token=s3cr3tToken9 now'],
    ['s3cr3tToken9', 'run --api-token s3cr3tToken9 now'],
    ['abc123def456', 'Authorization: Bearer abc123def456'],
    ['dXNlcjpwYXNzMQ==', 'authorization: Basic dXNlcjpwYXNzMQ=='],
    ['sid-9f8a7b', 'cookie: session=sid-9f8a7b; theme=dark'],
    [JWT, `token ${JWT} expired`],
    ['AKIAIOSFODNN7EXAMPLE', 'key AKIAIOSFODNN7EXAMPLE'],
    ['wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', 'aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'],
    ['MIIEowIBAAKCAQEAtest', `key:\n${PEM}\nend`],
    ['MIIEowIBAAKCAQEAtest', PEM.slice(0, 60)],
    ['p4ss', 'dial postgres://ada:p4ss@db.example:5432/shop failed'],
    ['p@ss', 'amqp://ada:p@ss@mq.example/'],
    [`ghp_${'a1B2'.repeat(9)}`, `remote: https://ghp_${'a1B2'.repeat(9)}@git.example/x`],
    ['xoxb-123456789012-abcdefABCDEF', 'slack xoxb-123456789012-abcdefABCDEF'],
    ['T000/B000/XXXXXXXX', 'https://hooks.slack.com/services/T000/B000/XXXXXXXX'],
    ['def-9X', 'error: {"password":"abc\\"def-9X"} was refused'],
    ['abc def-9X', 'the answer was cut: {"password":"abc def-9X'],
    ['abc def-9X', String.raw`cut too: {\"password\":\"abc def-9X`],
    [JWT, `https://example.org/v1.2/login.do?a.b=${JWT}.html`],
    [`sk-${'a1b2'.repeat(8)}`, `refused: sk-${'a1b2'.repeat(8)}`],
    [`sk-proj-${'aB3_'.repeat(8)}`, `refused: sk-proj-${'aB3_'.repeat(8)}`],
    ['xapp-1-A0B1C2D3E4F-123456', 'slack xapp-1-A0B1C2D3E4F-123456'],
    [`AIza${'x'.repeat(35)}`, `key=AIza${'x'.repeat(35)}`],
  ];
  test.for(texts)('removes %s from any text', ([secret, text]) => {
    for (const value of [text, { annotations: { description: text } }, [text]]) {
      expect(JSON.stringify(redact(value))).not.toContain(JSON.stringify(secret).slice(1, -1));
    }
  });

  test('keeps what stands around a secret', () => {
    expect(redact('dial postgres://ada:p4ss@db:5432 failed, password=x1, retry in 5s')).toBe(
      'dial postgres://ada:[redacted]@db:5432 failed, password=[redacted], retry in 5s',
    );
  });

  test('cleans once for all: again it changes nothing', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...texts), (value, [, text]) => {
        const once = redact({ value, text });
        expect(redact(once)).toEqual(once);
      }),
    );
  });

  test('changes neither what it is given nor the shape of it', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const before = JSON.stringify(value);
        const clean = redact(value);
        expect(JSON.stringify(value)).toBe(before);
        expect(Array.isArray(clean)).toBe(Array.isArray(value));
        expect(typeof clean).toBe(typeof value);
      }),
    );
  });

  test('is done with a long text soon, whatever is in it', () => {
    for (const unit of [
      'a.',
      'eyJ',
      '"',
      'password',
      'password=',
      'token ',
      '://',
      'a:b@',
      '\\"',
      '-----BEGIN PRIVATE KEY-----',
      'eyJ-',
      'eyJa.',
      'sk-',
      'cookie',
      'secret: "',
    ]) {
      const text = unit.repeat(100_000 / unit.length);
      expect(typeof redact(text)).toBe('string');
    }
    for (const [begin, unit] of [
      ['https://', 'a'],
      ['https://ada:', 'a:'],
      ['password:\\"', '\\'],
      ['password="', '\\"'],
      ['token', ' '],
      ['eyJ', 'a'],
    ]) {
      const text = `${begin}${unit!.repeat(500_000 / unit!.length)}`;
      const before = performance.now();
      expect(typeof redact(text)).toBe('string');
      // It took minutes where each character was looked at once for every one before it.
      expect(performance.now() - before).toBeLessThan(5_000);
    }
  });
});

describe('recordedLabels', () => {
  test('removes secrets before it cuts, so that half of one is not left', () => {
    const labels = { namespace: 'shop', token: 'x', summary: `${'a '.repeat(495)}${JWT}` };
    expect(recordedLabels(labels)).toEqual({
      namespace: 'shop',
      token: '[redacted]',
      summary: `${'a '.repeat(495)}[redacted]`.slice(0, 1_000),
    });
  });

  test('cuts each value to 1,000 characters and all of them to 8 KiB, and keeps the text well-formed', () => {
    const name = fc.string({ unit: 'binary', maxLength: 200 });
    const value = fc.oneof(fc.string({ unit: 'binary', maxLength: 3_000 }), fc.string({ maxLength: 20 }));
    fc.assert(
      fc.property(fc.dictionary(name, value, { minKeys: 8, maxKeys: 16 }), (labels) => {
        const kept = recordedLabels(labels);
        const text = Object.entries(kept).flat();
        expect(text.every((part) => part.isWellFormed())).toBe(true);
        expect(Buffer.byteLength(text.join(''))).toBeLessThanOrEqual(8 * 1_024);
        for (const one of Object.values(kept)) expect(one.length).toBeLessThanOrEqual(1_000);
      }),
      { numRuns: 20 },
    );
  });

  test('leaves the usual as it is', () => {
    const labels = {
      alertname: 'KubePodNotReady',
      namespace: 'shop',
      pod: 'web-0',
      summary: 'not ready for 5m \u{1f980}',
    };
    expect(recordedLabels(labels)).toEqual(labels);
    expect(recordedLabels(JSON.parse('{"__proto__":"x"}') as Record<string, string>)).toEqual(
      JSON.parse('{"__proto__":"x"}'),
    );
  });
});
