-- PARK: leased -> parked on one (secret, version), or on several; back to ready if the
-- queue knows a newer version of one already; cancelled if somebody cancelled it. A batch.
-- KEYS  places, 10 the parked set, then the log keys
-- ARGV  1 log TTL s, 2 consumer, 3 secret, 4 version, 5 those beside it, each
--       "+<secret>:<version>" and the rest of the set's name, then for each job: entry
--       id, jid, enqueued ms, body, index of its log key (0: none), field,
--       record, for one that was not tried the time ms of the refusal that
--       forbade it as the worker knew it (0: it was tried)
-- Output for each job 1 parked, 2 cancelled, 3 ready, 0 not held any more
-- Crash before: the lease runs out, another worker gets the job. Crash after,
-- reply lost: sent again it answers 0. Only the holder may. The set's name is
-- in the list of parked sets before a job is in the set, so a sweep finds it;
-- a newer version stored before this script is seen here, one stored after it
-- finds the job in the set. A job that was not tried for a refusal older than
-- the last release of the set goes to ready, too: the release could not see it.
check()
redis.call('ZCARD', KEYS[10])
local t = now()
local name, changed = ARGV[3] .. ':' .. ARGV[4], false
for secret, version in string.gmatch('+' .. name .. ARGV[5], '%+([^+]*):(%d+)') do
  changed = changed or tonumber(redis.call('HGET', VERSIONS, secret) or '0') > tonumber(version)
end
name = name .. ARGV[5]
local out = {}
local released = tonumber(redis.call('HGET', VERSIONS, 'released:' .. name) or '0')
for i = 6, #ARGV, 8 do
  local eid, jid, key = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 4])
  local state, code = 'parked', 1
  if not own(ARGV[2], eid) then
    code = 0
  elseif redis.call('HEXISTS', CANCEL, jid) == 1 then
    state, code = 'cancelled', 2
    drop(eid)
    forget(jid)
  elseif changed or ARGV[i + 7] ~= '0' and tonumber(ARGV[i + 7]) <= released then
    state, code = 'ready', 3
    ready(jid, ARGV[i + 3])
    drop(eid)
    redis.call('HDEL', MARK, jid)
  else
    redis.call('HSETNX', PARKS, name, t)
    redis.call('HSET', BODY, jid, ARGV[i + 3])
    redis.call('ZADD', KEYS[10], ARGV[i + 2], jid)
    drop(eid)
    forget(jid)
  end
  if code > 0 and key > 0 then log(KEYS[key], ARGV[i + 5], state, ARGV[i + 6], ARGV[1]) end
  out[#out + 1] = code
end
return out
