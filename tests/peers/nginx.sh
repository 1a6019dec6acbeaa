#!/bin/sh
# nginx with one worker on 127.0.0.1:PORT. It serves a small page over kept connections.
set -eu
folder=$(mktemp -d)
mkdir "$folder/html"
echo hello > "$folder/html/index.html"
temporary=
for kind in client_body proxy fastcgi uwsgi scgi; do temporary="$temporary ${kind}_temp_path $folder/$kind;"; done
cat > "$folder/nginx.conf" <<END
daemon off; master_process off; pid $folder/pid; error_log stderr;
events { worker_connections 4096; }
http {
    access_log off; keepalive_requests 1000000000; $temporary
    server { listen 127.0.0.1:$1 backlog=4096; root $folder/html; }
}
END
exec nginx -c "$folder/nginx.conf" -e stderr
