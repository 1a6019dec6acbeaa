// An echo server in Node: one event loop, ASCII upper case.
//
//   node node_server.js PORT        listens on 127.0.0.1:PORT (0: any free port) and prints that address
'use strict';

const net = require('node:net');

const A = 'a'.charCodeAt(0);
const Z = 'z'.charCodeAt(0);

function upper(bytes) {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] >= A && bytes[i] <= Z) bytes[i] -= 32;
  }
  return bytes;
}

const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  socket.on('data', (received) => {
    // Backpressure: no more is read from a client that does not read.
    if (!socket.write(upper(received))) socket.pause();
  });
  socket.on('drain', () => socket.resume());
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());
});

const port = Number(process.argv[2]);
server.listen({ host: '127.0.0.1', port, backlog: 4096 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
