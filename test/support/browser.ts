import { type Browser, type BrowserContextOptions, chromium, type Frame, type Page } from 'playwright-core';
import { CHROMIUM_FLAGS, findChromium } from '../../sandbox/chromium.ts';

export async function startBrowser(): Promise<Browser> {
  return await chromium.launch({ executablePath: await findChromium(), headless: true, args: CHROMIUM_FLAGS });
}

export interface Watched {
  page: Page;
  /** Addresses that the page has asked for, its own first. */
  requests: string[];
  /** What it wrote to the console as an error, and what it threw. */
  errors: string[];
}

/** What a person reads on it. */
export const textOf = (page: Page | Frame): Promise<string> => page.evaluate('document.body.innerText');

/** A page in a context of its own, with what it asks for and what goes wrong in it. */
export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const requests: string[] = [];
  const errors: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  return { page, requests, errors };
}
