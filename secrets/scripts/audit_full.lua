#!lua flags=allow-oom
-- audit_full: writes audit entries although Redis has reached its maxmemory.
-- KEYS 1 audit (stream), 2 rev
-- ARGV 1 most entries of the stream, then for each entry the number of its fields
--        and values, and these
-- Output the revision after that, '' if there is none
-- Crash before: nothing is written, and nothing is opened. Crash after: the entry
-- tells of an opening that did not happen.
-- The stream is trimmed, so this takes no more than it would have had in the end
-- anyway, and the jobs that it lets end give more back.
local i = 2
while i <= #ARGV do
  local n = tonumber(ARGV[i])
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, i + 1, i + n))
  i = i + n + 1
end
return redis.call('GET', KEYS[2]) or ''
