-- What every script begins with: the store's time, and where calendar windows in UTC end (as windows.py).
-- Times are whole microseconds, below 2^53, so that Lua's doubles hold them exactly.

local KEEP_MS = 40 * 86400 * 1000 -- longer than any window, so that no limit is forgotten while it counts
local WINDOWS = {"minute", "hour", "day", "month"}
local LENGTH = {minute = 60000000, hour = 3600000000, day = 86400000000}
local floor = math.floor

-- Never behind the last time that this tenant's state was used: after a fail-over the new server's clock may be.
local function clock(given, last)
  local now
  if given ~= "" then
    now = tonumber(given)
  else
    local t = redis.call("TIME")
    now = tonumber(t[1]) * 1000000 + tonumber(t[2])
  end
  last = tonumber(last or 0)
  if now < last then now = last end
  return now
end

local function whole(number) return string.format("%.0f", number) end

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

-- A window's count and end; a new window where the stored one is over.
local function counted(count, stop, name, now)
  stop = tonumber(stop or 0)
  if now >= stop then return 0, window_end(name, now) end
  return tonumber(count or 0), stop
end
