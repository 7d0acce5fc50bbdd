-- What every script begins with: the store's time, and where calendar windows in UTC end (as windows.py).
-- Times are whole microseconds, below 2^53, so that Lua's doubles hold them exactly.

local KEEP_MS = 40 * 86400 * 1000 -- longer than any window, so that no limit is forgotten while it counts
local LENGTH = {minute = 60000000, hour = 3600000000, day = 86400000000}
local LONGEST = {minute = LENGTH.minute, hour = LENGTH.hour, day = LENGTH.day, month = 31 * LENGTH.day}
local floor = math.floor

local function whole(number) return string.format("%.0f", number) end

-- The time, and whether it went back since the state's last use, after a fail-over or a correction. Then that is noted
-- in the state: leases may lie too far ahead.
local function clock(given, last)
  local now
  if given ~= "" then
    now = tonumber(given)
  else
    local t = redis.call("TIME")
    now = tonumber(t[1]) * 1000000 + tonumber(t[2])
  end
  local back = last and tonumber(last) > now
  if back then redis.call("HSET", KEYS[1], "last", whole(now), "back_at", whole(now)) end
  return now, back
end

local function month_end(now)
  local z = floor(now / LENGTH.day) + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153) -- 0 is March: a leap day ends its year
  local year, next_mp = yoe + era * 400, mp + 1
  if next_mp == 12 then year, next_mp = year + 1, 0 end
  era = floor(year / 400)
  yoe = year - era * 400
  doy = floor((153 * next_mp + 2) / 5)
  doe = yoe * 365 + floor(yoe / 4) - floor(yoe / 100) + doy
  return (era * 146097 + doe - 719468) * LENGTH.day
end

local function window_end(name, now)
  local length = LENGTH[name]
  if length then return now - now % length + length end
  return month_end(now)
end

-- A window's count and end; a new window where the stored one is over. One that begins later than a step of the clock
-- explains was opened while the clock was ahead: it is taken for the window of now. See `true_end` in windows.py.
local function counted(count, stop, name, now)
  stop = tonumber(stop or 0)
  if now >= stop then return 0, window_end(name, now) end
  if stop - now > LONGEST[name] and window_end(name, now + LONGEST[name] / 24) < stop then
    stop = window_end(name, now)
    redis.call("HSET", KEYS[1], name .. ":end", whole(stop))
  end
  return tonumber(count or 0), stop
end

-- The level of the rate's bucket; how long until a lowered limit counts alone, or 0; whether it does by now.
-- A level above the capacity is the debt of a limit that was higher. It is taken for a full bucket, from the last call on.
-- While a change is on its way to the replicas both limits are in use: so that the lower one does not empty the bucket of
-- the higher one again and again, its calls do so once a minute at most (`cut` is when they did, and under which capacity).
-- A limit that is lower still is a new change, and need not wait for that.
local CALL, CUT = 1000000000, 60000000
local function drained(level, level_at, cut, now, drain, capacity)
  local cut_at, cut_capacity = string.match(cut or "", "^(%d+) (%d+)$")
  level, level_at, cut_at = tonumber(level or 0), tonumber(level_at or 0), tonumber(cut_at or 0)
  if level_at > now then -- The clock went back: nothing is known to have drained before now. Kept, or it would not drain on.
    level_at = now
    redis.call("HSET", KEYS[1], "level_at", whole(now))
  end
  local lowered = false
  if level > capacity then
    local from = level_at
    if cut_at <= now and capacity >= tonumber(cut_capacity or 0) then from = math.max(level_at, cut_at + CUT) end
    local debt = level - (math.min(from, now) - level_at) * drain
    if debt > capacity then
      if from > now then return debt, from - now, false end
      debt, lowered = capacity, true
    end
    level, level_at = debt, math.min(from, now)
  end
  return math.max(0, level - (now - level_at) * drain), 0, lowered
end
