# The image is the binary and nothing else: `make build` first.
FROM scratch
COPY bin/interrex /interrex
ENV INTERREX_AGENT_DATA_DIR=/data
VOLUME /data
EXPOSE 7400 7401
ENTRYPOINT ["/interrex"]
CMD ["agent", "run"]
