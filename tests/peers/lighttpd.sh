#!/bin/sh
# lighttpd with one worker on 127.0.0.1:PORT. It serves a small page over kept connections.
set -eu
folder=$(mktemp -d)
echo hello > "$folder/index.html"
cat > "$folder/lighttpd.conf" <<END
server.document-root = "$folder"
server.bind = "127.0.0.1"
server.port = $1
server.max-keep-alive-requests = 1000000000
server.max-connections = 4096
server.max-fds = 8192
index-file.names = ( "index.html" )
END
exec lighttpd -D -f "$folder/lighttpd.conf"
