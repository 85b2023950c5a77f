# Asks the web interface over its socket, as a proxy would.
use strict;
use IO::Socket::UNIX;
my $s = IO::Socket::UNIX->new(Peer => "/run/snitch/web.sock") or die "connect: $!\n";
print $s "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
my $first = <$s> // "no answer";
print $first;
exit($first =~ m{^HTTP/1.1 200} ? 0 : 1);
