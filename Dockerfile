# Builds with everything that building needs, runs with Node.js and what the program loads.
FROM node:20-bookworm AS build
WORKDIR /isen
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev && rm -rf dist/test dist/bench dist/deploy

FROM node:20-bookworm-slim
ENV NODE_ENV=production ISEN__STORAGE_DIRECTORY=/var/lib/isen
WORKDIR /isen
COPY --from=build /isen/package.json /isen/LICENSE /isen/NOTICE ./
COPY --from=build /isen/node_modules node_modules
COPY --from=build /isen/bin bin
COPY --from=build /isen/src src
COPY --from=build /isen/dist dist
RUN mkdir /var/lib/isen && chown node:node /var/lib/isen
USER node
VOLUME /var/lib/isen
EXPOSE 8042 4242
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.ISEN__HTTP_PORT ?? 8042}/health/live`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "bin/isen.cjs"]
CMD ["serve"]
