-- RELEASE: leased -> ready, for jobs that were not begun, or surely not done,
-- when the worker stops. A batch.
-- A job that somebody cancelled while it ran ends as cancelled.
-- KEYS  places, then the log keys
-- ARGV  1 log TTL s, 2 consumer, then for each job: entry id, jid, body, index
--       of its log key in KEYS (0: none), field
-- Output for each job 1 released, 2 cancelled, 0 not held any more
-- Crash before: the lease runs out. Crash after, reply lost: sent again it
-- answers 0. Only the holder may.
check()
local out = {}
for i = 3, #ARGV, 5 do
  local eid, jid, key = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3])
  if not own(ARGV[2], eid) then
    out[#out + 1] = 0
  elseif redis.call('HEXISTS', CANCEL, jid) == 1 then
    drop(eid)
    forget(jid)
    if key > 0 then log(KEYS[key], ARGV[i + 4], 'cancelled', '{"t":' .. string.format('%.0f', now()) .. '}', ARGV[1]) end
    out[#out + 1] = 2
  else
    ready(jid, ARGV[i + 2])
    drop(eid)
    redis.call('HDEL', MARK, jid)
    out[#out + 1] = 1
  end
end
return out
