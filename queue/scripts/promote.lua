-- PROMOTE: delayed -> ready, for jobs that are due.
-- KEYS  places
-- ARGV  1 most jobs of this call
-- Output {jobs promoted, now ms}
-- Crash before: still delayed. Crash after: already ready, a second call finds
-- nothing. Many may call it at once: scripts run one after the other.
check()
local t = now()
local ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, ARGV[1])
for _, jid in ipairs(ids) do
  local body = redis.call('HGET', BODY, jid)
  if body then
    ready(jid, body)
    redis.call('HDEL', BODY, jid)
  end
  redis.call('ZREM', DUE, jid)
end
return {#ids, t}
