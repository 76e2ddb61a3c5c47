import { type Command, InvalidArgumentError } from 'commander';

/** How to reach whoever takes an order, as commander gives it. */
export interface DeskOptions {
  gateway?: string;
  tokenFile?: string;
}

/** Adds the options that say where an order goes. */
export const withDesk = (command: Command): Command =>
  command
    .option('--gateway <url>', 'order it there, such as http://localhost:9095 (default: $SALVOR_GATEWAY)', gatewayUrl)
    .option('--token-file <file>', 'a file with your token for the gateway (default: the token in $SALVOR_TOKEN)');

/** @returns with a slash at its end */
export function gatewayUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url.href.replace(/\/*$/, '/');
  throw new InvalidArgumentError('Give an address such as https://salvor.example.com.');
}
