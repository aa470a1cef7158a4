-- PACE: what all processes know of lanes that are throttled, held or broken.
-- Moves no job.
-- KEYS  places of no partition: 1 the hash of lanes
-- ARGV  1 "teach", 2 lane, 3 consumer, 4 T ms, 5 lesson, 6 count (-1: not known),
--         7 running jobs of this process, 8 pause ms that was named (0: none),
--         9 code, 10 rule, 11 text, 12 most lanes
--       1 "silent", 2 lane, 3 first pause ms, 4 longest, 5 rule, 6 text, 7 most lanes
--       1 "probe", 2 lane, 3 consumer, 4 ms until another may probe if this one lists no
--         lanes meanwhile, 5 the same however often it does
--       1 "mend", 2 lane
--       1 "share", 2 consumer, 3 T ms, 4 ms for which tokens are given, 5 ms after
--         which a silent process has no share, then for each lane: name, tokens
--         wanted, slots wanted, running jobs, jobs done since the last call, µs that
--         one takes (0: not known)
--       1 "list", 2 T ms, 3 consumer, 4 ms by which its probes are renewed, then the lanes
--         that it probes
-- Output {time, ...}, in ms, and then for teach and silent the lane as JSON, or
--        nothing if there are too many lanes; for probe 'go', 'probe', or 'wait'
--        and JSON; for share JSON ('' if it is not there), tokens and slots of
--        each lane; for list each lane and its JSON
-- Crash at any point: what is not written is learnt from the next answer; tokens
-- that nobody uses are lost, a slot is free again after a while.
--
-- A rate r grows with the time s for which it was too little: w*(1+((s-K)/T)^3),
-- w being what was too much. So it is soon just below w, stays there for long,
-- and then goes faster and faster, as CUBIC does for TCP (RFC 9438). The first
-- guess is taken in the middle of things and may be far too low: from there it
-- doubles each T/15 until it is refused, as TCP starts. A number of connections
-- grows by one each T/30 while it is a guess, and then by (2s/T)^3.
local key, op, lane = KEYS[1], ARGV[1], ARGV[2]
redis.call('HLEN', key)
local t = now()
local stamp = string.format('%.0f', t)
local DOWN, EVERY, LEAST = 0.85, 1000, 0.02
local SETTLE = 3000 -- until kept connections that are too many are closed everywhere
local T = tonumber(op == 'teach' and ARGV[4] or op == 'share' and ARGV[3] or op == 'list' and ARGV[2] or 1) or 1
local MEMORY = 60 * T -- for which a limit is kept that limits nobody
local K = T * (1 - DOWN) ^ (1 / 3)

local function get(name)
  local text = redis.call('HGET', key, name)
  return text and cjson.decode(text) or nil
end

-- What the limits have grown to, and the end of those that have grown enough.
local function grow(e)
  if e.t and t - e.t > MEMORY then e.r, e.c, e.m = nil, nil, nil end
  if e.r and e.i then
    e.r = e.w * DOWN * 2 ^ (15 * e.rs / T)
    if e.r > 100 * e.w then e.r = nil end
  elseif e.r then
    e.r = math.max(LEAST, e.w * (1 + ((e.rs - K) / T) ^ 3))
    if e.r > 8 * e.w then e.r = nil end
  end
  if e.c then
    e.c = e.cb + math.floor(e.ci and 30 * e.cs / T or (2 * e.cs / T) ^ 3)
    if e.c > 4 * e.cb + 16 then e.c = nil end
  end
  if e.m then
    e.m = math.floor(e.mb * (1 + ((t - e.mt) / (10 * T)) ^ 3))
    if e.m > 4 * e.mb then e.m = nil end
  end
  if not e.r then e.w, e.rs, e.rt, e.a, e.i, e.d = nil, nil, nil, nil, nil, nil end
  if not e.c then e.cb, e.cs, e.ct, e.ci = nil, nil, nil, nil end
  if not e.m then e.mb, e.mt = nil, nil end
end

-- Writes the lane, or forgets it when nothing limits it.
local function put(name, e)
  if e.r or e.c or e.m or e.b or e.h and e.h > t then
    local text = cjson.encode(e)
    redis.call('HSET', key, name, text)
    return text
  end
  redis.call('HDEL', key, name)
  return ''
end

local function sum(d)
  local n = 0
  for _, v in pairs(d) do n = n + v end
  return n
end

-- The rate that was too much is what came through when it was first refused,
-- in all processes that are refused in that moment. Later it is the rate itself;
-- and less if it was refused again before it had grown.
local function teachRate(e, me, count)
  if not e.r then
    if count <= 0 then return end -- nothing came through: no rate is too much
    e.i, e.d = t, {[me] = count}
  elseif e.i and t - e.i < EVERY then
    if e.d[me] then return end
    e.d[me] = count
  elseif t - e.rt < EVERY then
    return
  elseif e.i then
    e.w, e.i, e.d = e.r * 0.9, nil, nil -- it was too much a moment ago already
  elseif e.rs < T / 120 then
    e.w = e.r * 0.7 -- refused at once: it is far too much
  elseif e.rs < K / 2 then
    e.w = e.r * (1 + DOWN) / 2 -- as CUBIC's fast convergence
  else
    e.w = e.r
  end
  if e.d then e.w = math.max(LEAST, sum(e.d)) end
  e.rs, e.rt = 0, t
  e.r = math.max(LEAST, e.w * DOWN)
end

-- What was under way when the rate was first refused and came through after all
-- belongs to what came through: with 64 jobs running it may be most of it. No
-- others have begun by then, since the lane is held for as long.
local function later(e, me, done)
  if not (e.i and t - e.i < EVERY and e.d[me]) then return end
  e.d[me] = e.d[me] + done
  e.w = sum(e.d)
  e.r = e.w * DOWN
end

local function teachConnections(e, count, running)
  if count < 0 then count = math.floor(running / 2) end
  if not e.c then
    e.ci, e.cb = t, math.max(1, count)
  elseif e.ci and t - e.ci < EVERY then -- the most of one process: those of two were not open together for sure
    if count <= e.cb then return end
    e.cb = count
  elseif t - e.ct < SETTLE then
    return
  elseif e.ci then
    e.cb, e.ci = math.max(1, e.c - 1), nil
  else
    e.cb = math.max(1, math.min(e.c - 1, math.floor(e.c * DOWN)))
  end
  e.c, e.cs, e.ct = e.cb, 0, t
end

if op == 'teach' then
  local e = get(lane)
  if not e then
    if redis.call('HLEN', key) >= tonumber(ARGV[12]) then return {stamp} end
    e = {}
  end
  grow(e)
  local lesson, count, named = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[8])
  local fresh = not e.at or t - e.at >= EVERY -- what was under way says nothing new
  if lesson == 'rate' then teachRate(e, ARGV[3], math.max(count, 0))
  elseif lesson == 'connections' then teachConnections(e, count, tonumber(ARGV[7]))
  elseif lesson == 'messages' and count > 0 then e.mb, e.m, e.mt = count, count, t
  end
  local pause = named
  if fresh and lesson ~= 'messages' then
    e.n, e.at = (e.n or 0) + 1, t
    pause = math.max(named, 1000 * 2 ^ math.min(e.n - 1, 5))
  end
  if pause > 0 then e.h = math.max(e.h or 0, t + pause) end
  e.t, e.o, e.y, e.x = t, ARGV[9], ARGV[10], ARGV[11]
  return {stamp, put(lane, e)}
end

if op == 'silent' then
  local e = get(lane)
  if not e then
    if redis.call('HLEN', key) >= tonumber(ARGV[7]) then return {stamp} end
    e = {}
  end
  if not e.b then
    e.b, e.bn = t, 0
  elseif not e.bp and t < e.bu then -- the end of attempts that were under way
    return {stamp, cjson.encode(e)}
  end
  e.bu = t + math.min(tonumber(ARGV[4]), tonumber(ARGV[3]) * 2 ^ math.min(e.bn, 20))
  e.bn, e.bp, e.be, e.by, e.bx = e.bn + 1, nil, nil, ARGV[5], ARGV[6]
  return {stamp, put(lane, e)}
end

if op == 'probe' then
  local e = get(lane)
  if not e or not e.b then return {stamp, 'go'} end
  if t < e.bu then return {stamp, 'wait', cjson.encode(e)} end
  e.bu, e.bp, e.be = t + tonumber(ARGV[4]), ARGV[3], t + tonumber(ARGV[5])
  put(lane, e)
  return {stamp, 'probe'}
end

if op == 'mend' then
  local e = get(lane)
  if e then
    e.b, e.bu, e.bn, e.bp, e.be, e.by, e.bx = nil, nil, nil, nil, nil, nil, nil
    put(lane, e)
  end
  return {stamp}
end

-- A process that died does not list: then another may probe soon.
if op == 'list' then
  for i = 5, #ARGV do
    local e = get(ARGV[i])
    if e and e.b and e.bp == ARGV[3] then
      e.bu = math.max(e.bu, math.min(e.be, t + tonumber(ARGV[4])))
      put(ARGV[i], e)
    end
  end
  local out = {stamp}
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local e = cjson.decode(all[i + 1])
    grow(e)
    if e.r or e.c or e.m or e.b or e.h and e.h > t then
      out[#out + 1] = all[i]
      out[#out + 1] = cjson.encode(e)
    else
      redis.call('HDEL', key, all[i])
    end
  end
  return out
end

-- The tokens of the next moment: the n-th is due at a + n/r (GCRA). After a hold
-- they begin with half of a batch, since a whole one in advance and a second at
-- the rate were refused again (seen: 102 of 100 at a rate of 90).
local function tokens(e, want, batch)
  if not e.r or want <= 0 or e.h and e.h > t then return 0 end
  local idle = (e.a or 0) <= t
  local due = math.max(e.a or t, t)
  if t - (e.a or 0) > 2 * batch then due = t + batch / 2 end
  local n = math.floor((t + batch - due) * e.r / 1000)
  if n < 1 and idle then n, due = 1, t end -- a rate below one in a batch
  n = math.max(0, math.min(n, want))
  if n > 0 then e.a = due + n * 1000 / e.r end
  return n
end

-- The slots of process me: an equal part for each that wants some, the odd ones in
-- turn, more if others want less, and never what others still use.
local function slots(e, me, want)
  local names, used, spare = {}, 0, 0
  for name, k in pairs(e.k) do
    if k.w > 0 then names[#names + 1] = name end
    if name ~= me then used = used + math.max(k.g, k.u) end
  end
  if want == 0 then return 0 end
  table.sort(names)
  local n, index = #names, 0
  local part = math.floor(e.c / n)
  for i, name in ipairs(names) do
    if name == me then index = i else spare = spare + math.max(0, part - e.k[name].w) end
  end
  if (index + math.floor(t / 5000)) % n < e.c % n then part = part + 1 end
  return math.max(0, math.min(want, part + spare, e.c - used))
end

local me, batch, lease = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local out = {stamp}
for i = 6, #ARGV, 6 do
  local name, want, wish, running, done = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local e = get(name)
  local text, n, g = '', 0, 0
  if e then
    grow(e)
    e.k = e.k or {}
    e.k[me] = {t = t, g = 0, u = running, w = wish, d = tonumber(ARGV[i + 5])}
    for other, k in pairs(e.k) do
      if t - k.t > lease then e.k[other] = nil end
    end
    if done > 0 then
      e.n = nil
      later(e, me, done)
    end
    n = tokens(e, want, batch)
    if e.c then g = slots(e, me, wish); e.k[me].g = g end
    local passed = math.max(0, math.min(t - (e.l or t), lease))
    if e.r and n < want and not (e.h and e.h > t) then e.rs, e.t = e.rs + passed, t end
    if e.c and g < wish then e.cs, e.t = e.cs + passed, t end
    e.l = t
    text = put(name, e)
  end
  out[#out + 1] = text
  out[#out + 1] = tostring(n)
  out[#out + 1] = tostring(g)
end
return out
