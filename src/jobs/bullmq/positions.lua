--[[
  Lists the positions that there are. It looks at every key of Redis: for who copies queues, while nothing runs.

  ARGV[1]  prefix

  Returns their names.
]]
local start = keyOf(ARGV[1], '', 'position:')
local names = {}
for _, key in ipairs(redis.call('KEYS', start:gsub('[%[%]*?\\]', '\\%0') .. '*')) do
  names[#names + 1] = key:sub(#start + 1)
end
table.sort(names)
return names
