import {
  type KubeConfig,
  type KubernetesListObject,
  type KubernetesObject,
  makeInformer,
} from '@kubernetes/client-node';

const AGAIN_MS = 200;

/**
 * Follows all objects of a path of the API, through lost connections. Resolves when those that are there were told.
 * @returns ends it
 */
export async function follow<T extends KubernetesObject>(
  config: KubeConfig,
  path: string,
  list: () => Promise<KubernetesListObject<T>>,
  tell: (object: T, isDeleted: boolean) => void,
): Promise<() => Promise<void>> {
  const informer = makeInformer<T>(config, path, list);
  let ended = false;
  let timer: NodeJS.Timeout | undefined;
  const again = (): void => {
    if (ended) return;
    clearTimeout(timer);
    timer = setTimeout(() => void informer.start().catch(again), AGAIN_MS);
  };
  informer.on('add', (object) => tell(object, false));
  informer.on('update', (object) => tell(object, false));
  informer.on('delete', (object) => tell(object, true));
  informer.on('error', again);
  await informer.start();
  return async () => {
    ended = true;
    clearTimeout(timer);
    await informer.stop();
  };
}
