# Programs in C, built by the SDK's own script: nacre_guest(name source...) makes guests/name.wasm, target guest_name.
function(nacre_guest name)
  set(out ${CMAKE_BINARY_DIR}/guests/${name}.wasm)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/guests
    COMMAND ${CMAKE_SOURCE_DIR}/sdk/c/build.sh ${ARGN} -o ${out}
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/sdk/c/build.sh ${CMAKE_SOURCE_DIR}/sdk/c/nacre.c ${CMAKE_SOURCE_DIR}/sdk/c/libc.c
            ${CMAKE_SOURCE_DIR}/sdk/c/include/nacre.h
    VERBATIM)
  add_custom_target(guest_${name} ALL DEPENDS ${out})
endfunction()

# The guest of the engine tests.
nacre_guest(probe ${CMAKE_SOURCE_DIR}/src/program/testdata/probe.c)
foreach(test program_run_test program_call_test program_hostile_test program_body_test program_validate_test program_script_test)
  if(TARGET ${test})
    add_dependencies(${test} guest_probe)
    target_compile_definitions(${test} PRIVATE NACRE_GUESTS="${CMAKE_BINARY_DIR}/guests")
  endif()
endforeach()
