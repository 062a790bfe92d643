# How a module is built: src/NAME/*.c is a static library nacre_NAME, each src/NAME/*_test.c a cmocka test of its own.

option(NACRE_FUZZ "build the fuzz targets with libFuzzer (clang) instead of as corpus tests" OFF)
option(NACRE_COVERAGE "count executed lines and branches (gcc)" OFF)
set(NACRE_SANITIZE "" CACHE STRING "address,undefined for the sanitizer build")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Our own invariants are checked in release builds too: no NDEBUG.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1 -D_FORTIFY_SOURCE=2 -fstack-protector-strong")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(NACRE_CCACHE ccache)
if(NACRE_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${NACRE_CCACHE})
endif()

add_library(nacre_flags INTERFACE)
target_include_directories(nacre_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(nacre_flags INTERFACE _GNU_SOURCE)
target_link_options(nacre_flags INTERFACE -Wl,-z,relro,-z,now)
target_compile_options(nacre_flags INTERFACE
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes
  -Wvla -Wformat=2 -Wundef -Wcast-align -Wwrite-strings -Wno-pedantic -Wno-format-zero-length
  -Wno-format-truncation -fno-strict-aliasing -fno-common)

if(NACRE_SANITIZE)
  target_compile_options(nacre_flags INTERFACE -fsanitize=${NACRE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(nacre_flags INTERFACE -fsanitize=${NACRE_SANITIZE})
endif()
if(NACRE_COVERAGE)
  target_compile_options(nacre_flags INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(nacre_flags INTERFACE --coverage)
endif()

# The pinned Rust crate (Wasmtime, ed25519-zebra) is built once by tools/setup into a cache outside the tree.
execute_process(COMMAND ${CMAKE_SOURCE_DIR}/tools/setup --print-rust-dir
  OUTPUT_VARIABLE NACRE_RUST_DIR OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE rc)
if(rc)
  message(FATAL_ERROR "The pinned Rust libraries are not built: run tools/setup first.")
endif()
add_library(nacre_ext_rust INTERFACE)
target_include_directories(nacre_ext_rust SYSTEM INTERFACE ${NACRE_RUST_DIR}/include)
target_link_libraries(nacre_ext_rust INTERFACE ${NACRE_RUST_DIR}/lib/libnacre_third_party.a pthread dl m)
# The library is one object (fat LTO): a program that only verifies signatures must not carry the compiler along.
target_link_options(nacre_ext_rust INTERFACE -Wl,--gc-sections)

foreach(lib sodium crypto protobuf-c lmdb microhttpd curl jansson)
  add_library(nacre_ext_${lib} INTERFACE)
  target_link_libraries(nacre_ext_${lib} INTERFACE ${lib})
endforeach()

# nacre_test(NAME SOURCE [LINK LIBRARY...]): a cmocka program as a ctest test. It finds the tree by NACRE_SOURCE.
function(nacre_test name source)
  cmake_parse_arguments(T "" "" "LINK" ${ARGN})
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ${T_LINK} nacre_flags cmocka)
  if(CMAKE_C_COMPILER_ID STREQUAL GNU) # which does not know that cmocka's asserts end the function
    target_compile_options(${name} PRIVATE -Wno-maybe-uninitialized)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300
    LABELS unit ENVIRONMENT "NACRE_SOURCE=${CMAKE_SOURCE_DIR}")
endfunction()

# nacre_module(NAME [GENERATED] [DEPS MODULE...] [EXTERNAL LIBRARY...]): the module's library and its tests.
function(nacre_module name)
  cmake_parse_arguments(M "GENERATED" "" "DEPS;EXTERNAL" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.c)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.c$")
  list(FILTER tests INCLUDE REGEX "_test\\.c$")
  if(M_GENERATED)
    nacre_proto_sources(generated)
    list(APPEND sources ${generated})
  endif()
  if(NOT sources)
    return()
  endif()
  add_library(nacre_${name} STATIC ${sources})
  set_property(GLOBAL APPEND PROPERTY NACRE_MODULES nacre_${name})
  target_link_libraries(nacre_${name} PUBLIC nacre_flags)
  if(M_GENERATED)
    target_include_directories(nacre_${name} PUBLIC ${CMAKE_BINARY_DIR}/gen)
  endif()
  foreach(dep ${M_DEPS})
    target_link_libraries(nacre_${name} PUBLIC nacre_${dep})
  endforeach()
  foreach(ext ${M_EXTERNAL})
    target_link_libraries(nacre_${name} PUBLIC nacre_ext_${ext})
  endforeach()
  foreach(test ${tests})
    get_filename_component(stem ${test} NAME_WE)
    nacre_test(${name}_${stem} ${test} LINK nacre_${name})
    target_link_libraries(${name}_${stem} PRIVATE nacre_ext_jansson)
  endforeach()
endfunction()

# proto/nacre/*.proto -> gen/nacre/*.pb-c.{c,h}
function(nacre_proto_sources out)
  file(GLOB protos CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/proto/nacre/*.proto)
  set(result "")
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gen)
  foreach(proto ${protos})
    get_filename_component(stem ${proto} NAME_WE)
    set(c ${CMAKE_BINARY_DIR}/gen/nacre/${stem}.pb-c.c)
    add_custom_command(OUTPUT ${c} ${CMAKE_BINARY_DIR}/gen/nacre/${stem}.pb-c.h
      COMMAND protoc-c --proto_path=${CMAKE_SOURCE_DIR}/proto --c_out=${CMAKE_BINARY_DIR}/gen nacre/${stem}.proto
      DEPENDS ${protos} VERBATIM)
    set_source_files_properties(${c} PROPERTIES COMPILE_OPTIONS "-w")
    list(APPEND result ${c})
  endforeach()
  set(${out} ${result} PARENT_SCOPE)
endfunction()
