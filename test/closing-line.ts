import type { Reporter, SerializedError, TestModule } from 'vitest/node';

interface Failure {
  where: string;
  errors: readonly { message: string }[];
}

/**
 * Ends a run with its failures, a line each, and then `N passed, N failed` alone on a line. A file that could not be loaded, a
 * failed hook and an error outside of any test count as failures: what they kept from running has not passed.
 */
export class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    let passed = 0;
    const failures: Failure[] = unhandled.map((error) => ({ where: 'outside of any test', errors: [error] }));
    for (const module of modules) {
      const { relativeModuleId: file } = module;
      for (const error of module.errors()) failures.push({ where: file, errors: [error] });
      for (const suite of module.children.allSuites())
        for (const error of suite.errors()) failures.push({ where: `${file} > ${suite.fullName}`, errors: [error] });
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        if (state === 'passed') passed += 1;
        if (state === 'failed') failures.push({ where: `${file} > ${test.fullName}`, errors: errors ?? [] });
      }
    }
    const lines = failures.map(({ where, errors }) => `failed: ${where}: ${firstLine(errors)}`);
    process.stdout.write(`${[...lines, `${passed} passed, ${failures.length} failed`].join('\n')}\n`);
  }
}

const firstLine = (errors: Failure['errors']): string =>
  errors.map(({ message }) => message.split('\n', 1)[0]).join('; ');
