-- What every script shares; scripts.go puts it before each of them.
--
-- KEYS[1..9] of every script are the places of one partition, in this order:
local JOBS, DUE, BODY, DEAD, MOVED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local CANCEL, MARK, PARKS, VERSIONS = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local GROUP = 'w'

-- The only clock of the queue: Redis, in ms.
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Fails before anything is written if a place has the wrong type, because an
-- error in the middle of a script does not undo what came before it.
local function check()
  redis.call('XLEN', JOBS); redis.call('ZCARD', DUE); redis.call('HLEN', BODY); redis.call('ZCARD', DEAD)
  redis.call('HLEN', MOVED); redis.call('HLEN', CANCEL); redis.call('HLEN', MARK)
  redis.call('HLEN', PARKS); redis.call('HLEN', VERSIONS)
end

-- The pending record of entry eid if consumer me holds it, else nil. A missing
-- group (FLUSHALL, failover) counts as not held.
local function own(me, eid)
  local p = redis.pcall('XPENDING', JOBS, GROUP, eid, eid, 1, me)
  if p.err or #p == 0 then return nil end
  return p[1]
end

-- Puts a job into the stream again and remembers where it went.
local function ready(jid, body)
  local cut = string.find(body, '\n', 1, true)
  local eid = redis.call('XADD', JOBS, '*', 'meta', string.sub(body, 1, cut - 1), 'job', string.sub(body, cut + 1))
  redis.call('HSET', MOVED, jid, eid)
  return eid
end

-- Takes an entry out of the stream and out of the pending list, in this order:
-- an entry that is only pending is forgotten by the next XAUTOCLAIM, but one
-- that is only in the stream would stay there for ever.
local function drop(eid)
  redis.call('XDEL', JOBS, eid)
  redis.pcall('XACK', JOBS, GROUP, eid)
end

-- Forgets what only matters while a job is in the stream.
local function forget(jid)
  redis.call('HDEL', MOVED, jid); redis.call('HDEL', CANCEL, jid); redis.call('HDEL', MARK, jid)
end

-- Writes an attempt's record. A log that cannot be written (memory full) must
-- not keep a job from moving, so errors are ignored.
local function log(key, field, state, record, ttl)
  redis.pcall('HSET', key, field, state .. ' ' .. record)
  redis.pcall('EXPIRE', key, ttl)
end
