-- REMOVE: dead letter -> gone, by an operator. A batch.
-- KEYS  places
-- ARGV  the jids
-- Output for each job 1 removed, 0 not dead
-- Crash before: still dead. Crash after, reply lost: sent again it answers 0.
-- The set goes before the body: a body without a set is garbage that fsck
-- finds, a set without a body would be a dead letter that cannot be shown.
check()
local out = {}
for _, jid in ipairs(ARGV) do
  local n = redis.call('ZREM', DEAD, jid)
  if n == 1 then redis.call('HDEL', BODY, jid) end
  out[#out + 1] = n
end
return out
