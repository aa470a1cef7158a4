-- REQUEUE: dead letter -> ready, by an operator. A batch.
-- KEYS  places
-- ARGV  the jids
-- Output for each job 1 requeued, 0 not dead
-- Crash before: still dead. Crash after, reply lost: sent again it answers 0.
-- Attempts and crashes begin at 0 again; the numbers of log records go on. Parts
-- that were accepted stay, so that nobody gets a second mail; refused ones are
-- tried again.
check()
local out = {}
for _, jid in ipairs(ARGV) do
  local body = redis.call('ZSCORE', DEAD, jid) and redis.call('HGET', BODY, jid)
  if body then
    local cut = string.find(body, '\n', 1, true)
    local meta = cjson.decode(string.sub(body, 1, cut - 1))
    meta.a, meta.c, meta.s, meta.v, meta.b = nil, nil, nil, nil, nil
    local kept = {}
    for _, p in ipairs(meta.p or {}) do
      if not p.r then kept[#kept + 1] = p end
    end
    meta.p = #kept > 0 and kept or nil -- cjson writes an empty table as an object
    ready(jid, cjson.encode(meta) .. string.sub(body, cut))
    redis.call('HDEL', BODY, jid)
    redis.call('ZREM', DEAD, jid)
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
return out
