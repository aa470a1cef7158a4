-- UNPARK: parked -> ready, oldest first.
-- KEYS  places, 10 the parked set
-- ARGV  1 name of the set in the list of parked sets, 2 most jobs of this call,
--       3 1 for a release of all, 0 for a probe
-- Output how many left the set
-- Crash before: still parked. Crash after, reply lost: a second call goes on
-- with the rest. Called until it answers 0. The time of it is kept for park.
check()
if ARGV[3] == '1' then redis.call('HSET', VERSIONS, 'released:' .. ARGV[1], string.format('%.0f', now())) end
local ids = redis.call('ZRANGE', KEYS[10], 0, tonumber(ARGV[2]) - 1)
for _, jid in ipairs(ids) do
  local body = redis.call('HGET', BODY, jid)
  if body then
    ready(jid, body)
    redis.call('HDEL', BODY, jid)
  end
  redis.call('ZREM', KEYS[10], jid)
end
if redis.call('ZCARD', KEYS[10]) == 0 then redis.call('HDEL', PARKS, ARGV[1]) end
return #ids
