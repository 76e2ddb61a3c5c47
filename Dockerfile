ARG NODE=24.21.0

FROM node:${NODE}-bookworm-slim AS build
WORKDIR /salvor
COPY package.json package-lock.json ./
# Without scripts: the image has its Node, and there is nothing to build yet.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY build build
COPY model model
COPY workflows workflows
COPY activities activities
COPY providers providers
COPY workers workers
COPY gateway gateway
COPY audit audit
COPY backtest backtest
COPY sandbox sandbox
COPY cli cli
RUN node build/build.mjs && npm prune --omit=dev --ignore-scripts

FROM node:${NODE}-bookworm-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates git tini \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /salvor
COPY --from=build /salvor/package.json ./
COPY --from=build /salvor/node_modules node_modules
COPY --from=build /salvor/dist dist
COPY bin bin
COPY LICENSE ./
# By number, so that Kubernetes can see that it is not root.
USER 1000:1000
ENTRYPOINT ["/usr/bin/tini", "--", "node", "/salvor/bin/salvor.mjs"]
CMD ["--help"]
