# The library for CMake:
#
#     find_package(consistency 0.1 REQUIRED)
#     target_link_libraries(mine Consistency::consistency)         # the shared library
#     target_link_libraries(mine Consistency::consistency_static)  # the archive, with all that it needs
#
# find_package(consistency COMPONENTS static) fails where the archive or something that it needs is missing; without it the
# second target is there where all of it is.  Paths are found from where this file lies, so the folders may be moved.
cmake_minimum_required(VERSION 3.13)

# prefix/LIBDIR/cmake/consistency is three folders below LIBDIR's parent, wherever LIBDIR lies below the prefix.
get_filename_component(_consistency_lib "${CMAKE_CURRENT_LIST_DIR}/../.." REALPATH)
set(_consistency_prefix "${_consistency_lib}")
while(NOT EXISTS "${_consistency_prefix}/include/consistency.h")
  get_filename_component(_consistency_parent "${_consistency_prefix}" DIRECTORY)
  if(_consistency_parent STREQUAL _consistency_prefix)
    set(consistency_FOUND FALSE)
    set(consistency_NOT_FOUND_MESSAGE "include/consistency.h is in no folder above ${CMAKE_CURRENT_LIST_DIR}")
    return()
  endif()
  set(_consistency_prefix "${_consistency_parent}")
endwhile()

if(NOT TARGET Consistency::consistency AND EXISTS "${_consistency_lib}/libconsistency.so")
  add_library(Consistency::consistency SHARED IMPORTED)
  get_filename_component(_consistency_file "${_consistency_lib}/libconsistency.so" REALPATH)
  set_target_properties(Consistency::consistency PROPERTIES
    IMPORTED_LOCATION "${_consistency_file}"
    IMPORTED_SONAME libconsistency.so.0
    INTERFACE_INCLUDE_DIRECTORIES "${_consistency_prefix}/include")
endif()

# The archive needs what pkg-config --static names; each is looked for as a file, since not all of them have packages.
if(NOT TARGET Consistency::consistency_static AND EXISTS "${_consistency_lib}/libconsistency.a")
  set(_consistency_needs "")
  set(_consistency_missing "")
  foreach(_consistency_name dnnl lapack jansson jpeg png z zip xxhash)
    find_library(CONSISTENCY_${_consistency_name}_LIBRARY ${_consistency_name})
    mark_as_advanced(CONSISTENCY_${_consistency_name}_LIBRARY)
    if(CONSISTENCY_${_consistency_name}_LIBRARY)
      list(APPEND _consistency_needs "${CONSISTENCY_${_consistency_name}_LIBRARY}")
    else()
      list(APPEND _consistency_missing ${_consistency_name})
    endif()
  endforeach()
  if(NOT _consistency_missing)
    add_library(Consistency::consistency_static STATIC IMPORTED)
    set_target_properties(Consistency::consistency_static PROPERTIES
      IMPORTED_LOCATION "${_consistency_lib}/libconsistency.a"
      IMPORTED_LINK_INTERFACE_LANGUAGES "C"
      INTERFACE_INCLUDE_DIRECTORIES "${_consistency_prefix}/include"
      INTERFACE_LINK_LIBRARIES "${_consistency_needs};stdc++;m;-pthread;gomp")
  endif()
endif()

set(consistency_static_FOUND FALSE)
if(TARGET Consistency::consistency_static)
  set(consistency_static_FOUND TRUE)
endif()
set(consistency_shared_FOUND FALSE)
if(TARGET Consistency::consistency)
  set(consistency_shared_FOUND TRUE)
endif()
foreach(_consistency_name ${consistency_FIND_COMPONENTS})
  if(NOT consistency_${_consistency_name}_FOUND AND consistency_FIND_REQUIRED_${_consistency_name})
    set(consistency_FOUND FALSE)
    set(consistency_NOT_FOUND_MESSAGE
      "component ${_consistency_name} is missing; shared and static are known, and static needs ${_consistency_missing}")
  endif()
endforeach()
unset(_consistency_lib)
unset(_consistency_prefix)
unset(_consistency_parent)
unset(_consistency_file)
unset(_consistency_name)
unset(_consistency_needs)
